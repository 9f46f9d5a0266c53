# The newer revision.
{
  greeting = "2.0";
  motd = "the newer message";
  more =
    { script, free }:
    {
      newcomer = script {
        pname = "newcomer";
        version = "0.1";
        text = ''
          mkdir -p $out/share/newcomer
          echo "only the newer revision has me" > $out/share/newcomer/text
        '';
        meta = {
          description = "Package that the older revision did not have yet";
          license = free "Apache-2.0";
        };
      };
    };
}
