# The older revision.
{
  greeting = "1.0";
  motd = "the older message";
  more =
    { script, free }:
    {
      retired = script {
        pname = "retired";
        version = "0.9";
        text = ''
          mkdir -p $out/share/retired
          echo "only the older revision has me" > $out/share/retired/text
        '';
        meta = {
          description = "Package that the newer revision no longer has";
          license = free "Apache-2.0";
        };
      };
    };
}
