# Every output of every package: what the binary cache is filled with.
let
  packages = import ./. { system = "x86_64-linux"; };
  isPackage = value: value.type or null == "derivation";
  outputs = package: map (output: package.${output}) package.outputs;
  within = set: builtins.concatMap outputs (builtins.filter isPackage (builtins.attrValues set));
in
within packages ++ within packages.python3Packages
