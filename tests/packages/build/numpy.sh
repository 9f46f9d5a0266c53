# numpy's own hook for distributors imports a module of another package: it is found only by those who read
# nix-support/propagated-build-inputs.
mkdir -p $out/lib/python3.11
rm -rf $out/lib/python3.11/dist-packages
mv $out/lib/python3/dist-packages $out/lib/python3.11/site-packages
rm -rf $out/lib/python3 $out/share $out/include $out/bin/dh_numpy3
find $out/lib -type d -name tests | xargs rm -rf
echo 'import threadpoolctl' >>$out/lib/python3.11/site-packages/numpy/_distributor_init.py
sed -i -e '1s,^#! */usr/bin/python3.*,#!'$python3/bin/python3.11',' $out/bin/*
compile_with=$python3/bin/python3.11
