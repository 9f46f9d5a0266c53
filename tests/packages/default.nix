# A small package set of real programs, laid out like nixpkgs. What makes one revision differ from another is in
# revision.nix beside this file; debs.json and the folders debs and tools come from `cargo xtask setup`.
{
  system ? builtins.currentSystem,
}:
let
  revision = import ./revision.nix;
  make = import ./build { inherit system; };
  inherit (make) library program script;

  free = spdxId: {
    inherit spdxId;
    free = true;
    fullName = spdxId;
  };
  isLinuxOnX86 = system == "x86_64-linux";

  python3 = program {
    pname = "python3";
    debs = [
      "libpython3.11-minimal"
      "libpython3.11-stdlib"
      "python3.11-minimal"
      "python3.11"
    ];
    finish = ./build/python.sh;
    meta = {
      description = "High-level dynamically-typed programming language";
      homepage = "https://www.python.org";
      license = free "PSF-2.0";
      mainProgram = "python3";
    };
  };

  pythonModule =
    arguments:
    program (
      {
        finish = ./build/python-module.sh;
        variables = {
          inherit python3;
        };
      }
      // arguments
      // {
        # As in nixpkgs: the interpreter and the module's own dependencies are named in
        # nix-support/propagated-build-inputs, and nowhere else.
        propagated = [ python3 ] ++ arguments.propagated or [ ];
      }
    );

  python3Packages = {
    numpy = pythonModule {
      pname = "numpy";
      debs = [ "python3-numpy" ];
      propagated = [ python3Packages.threadpoolctl ];
      finish = ./build/numpy.sh;
      meta = {
        description = "Scientific tools for Python";
        homepage = "https://numpy.org";
        license = free "BSD-3-Clause";
        mainProgram = "f2py";
      };
    };
    threadpoolctl = pythonModule {
      pname = "threadpoolctl";
      debs = [ "python3-threadpoolctl" ];
      meta = {
        description = "Helpers to limit number of threads used in native libraries";
        homepage = "https://github.com/joblib/threadpoolctl";
        license = free "BSD-3-Clause";
      };
    };
    idna = pythonModule {
      pname = "idna";
      debs = [ "python3-idna" ];
      meta = {
        description = "Internationalized Domain Names in Applications";
        homepage = "https://github.com/kjd/idna";
        license = free "BSD-3-Clause";
      };
    };
  };

  packages = {
    inherit python3;
    inherit (python3Packages) numpy;

    bash = program {
      pname = "bash";
      debs = [ "bash" ];
      finish = ./build/bash.sh;
      meta = {
        description = "GNU Bourne-Again Shell, the de facto standard shell on Linux";
        homepage = "https://www.gnu.org/software/bash/";
        license = free "GPL-3.0-or-later";
        mainProgram = "bash";
      };
    };

    cacert = program {
      pname = "cacert";
      debs = [ "ca-certificates" ];
      finish = ./build/cacert.sh;
      meta = {
        description = "Bundle of X.509 certificates of public Certificate Authorities";
        homepage = "https://curl.se/docs/caextract.html";
        license = free "MPL-2.0";
      };
    };

    coreutils = program {
      pname = "coreutils";
      debs = [ "coreutils" ];
      meta = {
        description = "GNU Core Utilities";
        homepage = "https://www.gnu.org/software/coreutils/";
        license = free "GPL-3.0-or-later";
      };
    };

    curl = program {
      pname = "curl";
      debs = [ "curl" ];
      meta = {
        description = "Command line tool for transferring files with URL syntax";
        homepage = "https://curl.se/";
        license = free "curl";
        mainProgram = "curl";
      };
    };

    jq = program {
      pname = "jq";
      debs = [ "jq" ];
      meta = {
        description = "Lightweight and flexible command-line JSON processor";
        homepage = "https://jqlang.github.io/jq/";
        license = free "MIT";
        mainProgram = "jq";
      };
    };

    nginx = program {
      pname = "nginx";
      debs = [
        "nginx"
        "nginx-common"
      ];
      meta = {
        description = "Reverse proxy and lightweight webserver";
        homepage = "http://nginx.org";
        license = free "BSD-2-Clause";
        mainProgram = "nginx";
      };
    };

    redis = program {
      pname = "redis";
      debs = [
        "redis-tools"
        "redis-server"
      ];
      meta = {
        description = "Open source, advanced key-value store";
        homepage = "https://redis.io";
        license = free "BSD-3-Clause";
        mainProgram = "redis-cli";
      };
    };

    # From here on: packages that are small on purpose, each to test one thing.

    greeting = script {
      pname = "greeting";
      version = revision.greeting;
      text = ''
        mkdir -p $out/bin $out/share/greeting
        echo "Hello from version $version" > $out/share/greeting/text
        printf '#!%s/bin/bash\necho "$(< %s/share/greeting/text)"\n' ${packages.bash} $out > $out/bin/greeting
        chmod +x $out/bin/greeting
      '';
      meta = {
        description = "Program that says hello and has another version in every revision";
        license = free "Apache-2.0";
        mainProgram = "greeting";
      };
    };

    motd = script {
      pname = "motd";
      version = "1.0";
      text = ''
        mkdir -p $out/share/motd
        echo "${revision.motd}" > $out/share/motd/text
      '';
      meta = {
        description = "Data alone, with the same version and other content in every revision";
        license = free "CC0-1.0";
      };
    };

    conflict-a = script {
      pname = "conflict-a";
      version = "1.0";
      text = ''
        mkdir -p $out/bin
        printf '#!%s/bin/sh\necho a\n' ${packages.bash} > $out/bin/clash
        chmod +x $out/bin/clash
      '';
      meta = {
        description = "First of two packages with a program of the same name";
        license = free "Apache-2.0";
        mainProgram = "clash";
      };
    };

    conflict-b = script {
      pname = "conflict-b";
      version = "1.0";
      text = ''
        mkdir -p $out/bin
        printf '#!%s/bin/sh\necho b\n' ${packages.bash} > $out/bin/clash
        chmod +x $out/bin/clash
      '';
      meta = {
        description = "Second of two packages with a program of the same name";
        license = free "Apache-2.0";
        mainProgram = "clash";
      };
    };

    tiny-multi = script {
      pname = "tiny-multi";
      version = "1.2.3";
      outputs = [
        "out"
        "dev"
      ];
      text = ''
        mkdir -p $out/lib $dev/include $dev/nix-support
        echo "not really a library" > $out/lib/libtiny.txt
        echo "#define TINY \"$out\"" > $dev/include/tiny.h
        printf '%s ' $out > $dev/nix-support/propagated-build-inputs
      '';
      meta = {
        description = "Package of two outputs";
        license = free "Apache-2.0";
        outputsToInstall = [ "out" ];
      };
    };

    unfree-thing = script {
      pname = "unfree-thing";
      version = "1.0";
      text = ''
        mkdir -p $out/share/unfree-thing
        echo "all rights reserved" > $out/share/unfree-thing/LICENSE
      '';
      meta = {
        description = "Package whose license is not free";
        license = {
          fullName = "Unfree";
          shortName = "unfree";
          free = false;
        };
      };
    };

    self-ref = script {
      pname = "self-ref";
      version = "1.0";
      text = ''
        mkdir -p $out/share/self-ref
        echo "I am at $out" > $out/share/self-ref/where
      '';
      meta = {
        description = "Package with a file that names the package's own path";
        license = free "Apache-2.0";
      };
    };
  }
  // (
    # Absent elsewhere, as packages of nixpkgs are that do not exist for a system.
    if isLinuxOnX86 then
      {
        only-x86 = script {
          pname = "only-x86";
          version = "1.0";
          text = ''
            mkdir -p $out/share/only-x86
            echo "x86-64" > $out/share/only-x86/text
          '';
          meta = {
            description = "Package that exists for one system alone";
            license = free "Apache-2.0";
            platforms = [ "x86_64-linux" ];
          };
        };
      }
    else
      { }
  )
  // revision.more { inherit script free; };

  withPositions = builtins.mapAttrs (
    name: package:
    let
      position = builtins.unsafeGetAttrPos name packages;
    in
    package
    // {
      meta = {
        position = "${position.file}:${toString position.line}";
      }
      // package.meta;
    }
  );
in
withPositions packages
// {
  # nixpkgs calls it by both names; only the first is walked through.
  python3Packages = python3Packages // {
    recurseForDerivations = true;
  };
  python311Packages = python3Packages;
  # What all others are linked with, one package for each of Debian's.
  libraries = make.libraries;
}
