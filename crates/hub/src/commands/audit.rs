//! `nival-hub audit`: who did what, when.

use super::{CommandError, open_database, print, print_json};
use crate::args::Audit;
use crate::config::Settings;

pub(super) async fn run(settings: &Settings, options: &Audit) -> Result<(), CommandError> {
    let database = open_database(settings).await?;
    let entries = database.audit(options.most).await?;
    database.close().await;
    if options.json {
        return print_json(&entries);
    }
    let line = |entry: &crate::db::AuditEntry| {
        let detail = entry.detail.escape_debug();
        format!(
            "{}  {}  {}  {}  {detail}\n",
            entry.at, entry.actor, entry.action, entry.subject
        )
    };
    print(&entries.iter().map(line).collect::<String>())
}
