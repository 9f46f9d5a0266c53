# A module of Debian's goes where nixpkgs has modules.
mkdir -p $out/lib/python3.11
rm -rf $out/lib/python3.11/dist-packages
mv $out/lib/python3/dist-packages $out/lib/python3.11/site-packages
rm -rf $out/lib/python3 $out/share
compile_with=$python3/bin/python3.11
