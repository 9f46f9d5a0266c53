# Facts about packages of a package set that is laid out like nixpkgs. The request comes as JSON in a variable, so
# that no text of a user ever becomes Nix code. Whatever a package lacks or fails to evaluate becomes null.
let
  request = builtins.fromJSON (builtins.getEnv "NIVAL_CATALOG_REQUEST");
  root = if request.path == "<nixpkgs>" then <nixpkgs> else request.path;
  set = import root;

  # Packages that are unfree, broken or of another platform are told apart here, not by an evaluation error.
  offered = {
    inherit (request) system;
    config = { allowUnfree = true; allowBroken = true; allowUnsupportedSystem = true; allowAliases = true; };
  };
  formals = builtins.functionArgs set;
  arguments = if formals == { } then { inherit (request) system; } else builtins.intersectAttrs formals offered;
  packages = if builtins.isFunction set then set arguments else set;

  attempt = value:
    let tried = builtins.tryEval (builtins.deepSeq value value); in if tried.success then tried.value else null;
  attemptShallow = value: let tried = builtins.tryEval value; in if tried.success then tried.value else null;
  plain = value: if builtins.isString value then builtins.unsafeDiscardStringContext value else null;
  text = value: attempt (plain value);
  list = value: if builtins.isList value then value else [ value ];

  step = from: name:
    attemptShallow (if builtins.isAttrs from && builtins.hasAttr name from then builtins.getAttr name from else null);

  # The same with nothing caught: what a package set says of a package that it removed comes this way.
  walk = builtins.foldl'
    (from: name: if builtins.isAttrs from && builtins.hasAttr name from then builtins.getAttr name from else null)
    packages;

  license = one:
    if builtins.isAttrs one then one.spdxId or (one.shortName or (one.fullName or "unknown"))
    else if builtins.isString one then one else "unknown";
  isFree = one: if builtins.isAttrs one then one.free or true else one != "unfree";

  facts = path:
    let
      value = builtins.foldl' step packages path;
      kind = attemptShallow (if builtins.isAttrs value then value.type or null else null);
      metaTried = attemptShallow (value.meta or { });
      meta = if builtins.isAttrs metaTried then metaTried else { };
      name = text (value.name or null);
      parsed = builtins.parseDrvName (if name == null then "unknown" else name);
      outputNames = let names = attempt (value.outputs or [ "out" ]); in if names == null then [ "out" ] else names;
      outputs = attempt (builtins.listToAttrs (map
        (output: {
          name = output;
          value = plain (if builtins.hasAttr output value then value.${output}.outPath else value.outPath);
        })
        outputNames));
      platforms = attempt (meta.platforms or null);
      isNamed = platforms != null && builtins.isList platforms && builtins.all builtins.isString platforms;
      licenses = attempt (if meta ? license then list meta.license else [ ]);
      or' = default: tried: if tried == null then default else tried;
    in
    if kind != "derivation" then { found = false; fails = !(builtins.tryEval (walk path)).success; }
    else {
      found = true;
      inherit outputs;
      pname = or' parsed.name (text (value.pname or null));
      version = or' parsed.version (text (value.version or null));
      derivation = text (value.drvPath or null);
      outputsToInstall = attempt (meta.outputsToInstall or (
        if builtins.elem "out" outputNames then [ "out" ] else [ (builtins.head outputNames) ]));
      licenses = or' [ ] (attempt (map license (or' [ ] licenses)));
      free = or' true (attempt (builtins.all isFree (or' [ ] licenses)));
      broken = or' false (attempt (meta.broken or false));
      unsupported = or' false (attempt (
        meta.unsupported or (isNamed && !(builtins.elem request.system platforms))));
      description = text (meta.description or null);
      homepage = attempt (plain (let one = meta.homepage or null; in if builtins.isList one && one != [ ] then builtins.head one else one));
      cpe = text (meta.identifiers.cpe or null);
      purl = text (meta.identifiers.purl or null);
    };

  answers = map facts request.packages;
in
if request.explain != null then builtins.seq (walk request.explain) null
else {
  inherit answers;
  root = toString root;
  # For "did you mean": only when something is missing, since a large set has many names.
  names =
    if request.listNames || builtins.any (one: !one.found) answers
    then builtins.attrNames packages else [ ];
}
