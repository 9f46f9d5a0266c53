# How packages are made: out of Debian's, or by a few lines of shell. Every builder is one static busybox.
{ system }:
let
  debs = builtins.fromJSON (builtins.readFile ../debs.json);
  tools = builtins.path {
    name = "bootstrap-tools";
    path = ../tools;
  };
  file =
    path:
    builtins.path {
      name = baseNameOf path;
      inherit path;
    };

  unique = builtins.foldl' (seen: one: if builtins.elem one seen then seen else seen ++ [ one ]) [ ];

  # Set-up has put the file into the store under its hash: nothing is ever fetched from this address.
  fetch =
    deb:
    derivation {
      name = deb.file;
      system = "builtin";
      builder = "builtin:fetchurl";
      url = "file:///debian/${deb.file}";
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = deb.sha256;
      preferLocalBuild = true;
    };

  complete =
    {
      pname,
      version,
      meta,
      outputs ? [ "out" ],
    }:
    drv:
    let
      common = {
        inherit pname version;
        name = "${pname}-${version}";
        meta = {
          available = true;
          unfree = !(meta.license.free or true);
          outputsToInstall = [ (builtins.head outputs) ];
          platforms = [
            "x86_64-linux"
            "aarch64-linux"
          ];
        }
        // meta;
      };
      withOutputs = builtins.listToAttrs (
        map (output: {
          name = output;
          value = drv.${output} // common // { outputSpecified = true; };
        }) outputs
      );
    in
    drv // common // withOutputs;

  run =
    {
      pname,
      version,
      outputs ? [ "out" ],
      builder,
      variables ? { },
    }:
    derivation (
      variables
      // {
        inherit
          pname
          version
          outputs
          system
          tools
          ;
        name = "${pname}-${version}";
        builder = "${tools}/bin/busybox";
        args = [
          "sh"
          "-eu"
          builder
        ];
      }
    );

  # What Debian's packages need of each other, all the way down and without those in `own`.
  dependencies =
    own: names:
    let
      direct = unique (builtins.concatMap (name: debs.${name}.depends) names);
    in
    map (name: libraries.${name}) (builtins.filter (name: !(builtins.elem name own)) direct);
  closure = direct: unique (direct ++ builtins.concatMap (one: one.closure) direct);

  unpacked =
    {
      pname,
      debs',
      finish ? null,
      propagated ? [ ],
      variables ? { },
      meta,
    }:
    let
      inherit (debs.${builtins.head debs'}) version;
      needed = closure (dependencies debs' debs');
      drv = run {
        inherit pname version;
        builder = file ./deb.sh;
        variables = variables // {
          debs = map (name: fetch debs.${name}) debs';
          finish = if finish == null then "" else file finish;
          libraries = needed;
          inherit propagated;
          # For whoever wants to know where the bytes are from.
          debian = map (name: "${name}=${debs.${name}.debianVersion}") debs';
        };
      };
    in
    complete { inherit pname version meta; } drv // { closure = needed; };

  # Debian puts a library's generation behind a dash, which in a store path would begin the version.
  withoutDashes =
    name:
    builtins.concatStringsSep "" (
      map (part: if builtins.isList part then "_" + builtins.head part else part) (
        builtins.split "-([0-9])" name
      )
    );

  library =
    name:
    unpacked {
      pname = withoutDashes name;
      debs' = [ name ];
      meta = {
        description = "Debian's package ${name}";
      };
    };

  libraries = builtins.mapAttrs (name: deb: library name) debs;
in
{
  inherit libraries library;

  program =
    {
      debs,
      ...
    }@arguments:
    unpacked (removeAttrs arguments [ "debs" ] // { debs' = debs; });

  script =
    {
      pname,
      version,
      text,
      outputs ? [ "out" ],
      meta,
    }:
    complete
      {
        inherit
          pname
          version
          meta
          outputs
          ;
      }
      (run {
        inherit pname version outputs;
        builder = file ./script.sh;
        variables = {
          inherit text;
        };
      });
}
