//! Generations: takes only what is complete and follows the head; gives them back by number or digest.

use api::hub::environment::GenerationId;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use env_spec::generation::Generation;
use env_spec::{Digest, EnvironmentName, Signed};

use super::{LARGEST_SIGNED, environment_name, read_record, require_same, require_signature};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Pieces;
use crate::db::EnvironmentRow;
use crate::error::HubError;
use crate::owner::Owner;
use crate::storage::layout;
use crate::turn;

/// How many missing things an error names.
const NAMED: usize = 3;

/// The longest message: a page of text.
const LONGEST_MESSAGE: usize = 16 << 10;

/// The longest name of an author.
const LONGEST_AUTHOR: usize = 1 << 10;

/// The longest time: RFC 3339 with nanoseconds is far shorter.
const LONGEST_TIME: usize = 64;

/// Publishes a generation. The same one again changes nothing, so a client whose answer was lost may repeat.
pub(crate) async fn post(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, HubError> {
    let name = environment_name(&owner, &name)?;
    let owner = Owner::from(&name);
    let actor = caller.require_push(&owner)?;
    let receiving = app.turn_to_receive().await;
    let pieces = Pieces::new(
        body,
        "the record",
        LARGEST_SIGNED,
        app.settings.stall_timeout,
    );
    let text = pieces.collect().await?;
    // Records are megabytes: parsing would hold up everybody else on this thread.
    let turns = (receiving, app.turn_to_read().await);
    let (signed, record) = turn::work(turns, move || read(&text)).await??;
    let digest = signed.digest();
    require_same(&record.environment, &name)?;
    record.check(&name, None)?;
    require_short(&record)?;
    let subject = format!("generation {} of {name}", record.number);
    require_signature(&app, &signed, &subject)?;
    require_paths(&app, &owner, &record, &subject).await?;
    require_documents(&app, &record, &subject).await?;

    // From here to the commit nobody else can change the head, so the object written is the next generation's.
    let mut writing = app.database.write().await?;
    let environment = writing.environment_or_new(&name, &actor).await?;
    if app
        .database
        .generation_number(&name, digest)
        .await?
        .is_some()
    {
        return Ok(StatusCode::OK);
    }
    require_next(&environment, &record)?;
    let text = serde_json::to_vec(&signed).map_err(|source| HubError::BadBody { source })?;
    app.storage
        .put(&layout::generation(&name, record.number), text)
        .await?;
    writing.add_generation(&record, digest, &actor).await?;
    writing.commit().await?;
    app.metrics.generations.inc();
    tracing::info!(environment = %name, number = record.number, %digest, actor, "generation published");
    Ok(StatusCode::CREATED)
}

/// Returns one, by number or by digest.
pub(crate) async fn get(
    State(app): State<App>,
    Path((owner, name, which)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<impl IntoResponse, HubError> {
    let name = environment_name(&owner, &name)?;
    caller.environment(&app, &name).await?;
    let found = find(&app, &name, &which).await?;
    let GenerationId { number, digest } =
        found.ok_or_else(|| caller.not_found(&format!("generation {which} of {name}")))?;
    let text = app.storage.get(&layout::generation(&name, number)).await?;
    let text = text.ok_or_else(|| HubError::Damaged(format!("{name}:{number} is gone")))?;
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, format!("\"{digest}\"")),
    ];
    Ok((headers, text))
}

async fn find(
    app: &App,
    name: &EnvironmentName,
    which: &str,
) -> Result<Option<GenerationId>, HubError> {
    if let Ok(digest) = which.parse::<Digest>() {
        let number = app.database.generation_number(name, digest).await?;
        return Ok(number.map(|number| GenerationId { number, digest }));
    }
    let number = which
        .parse()
        .ok()
        .filter(|number: &u64| *number > 0 && number.to_string() == which);
    let number = number.ok_or_else(|| {
        let shown: String = which.chars().take(100).collect();
        HubError::BadRequest(format!(
            "{shown:?} is neither a generation's number nor its digest"
        ))
    })?;
    if i64::try_from(number).is_err() {
        return Ok(None);
    }
    let digest = app.database.generation_digest(name, number).await?;
    Ok(digest.map(|digest| GenerationId { number, digest }))
}

/// What people wrote is shown in lists and logs, so it must have a size for that.
fn require_short(record: &Generation) -> Result<(), HubError> {
    for (what, text, most) in [
        ("message", &record.message, LONGEST_MESSAGE),
        ("author", &record.author, LONGEST_AUTHOR),
        ("time", &record.created, LONGEST_TIME),
    ] {
        if text.len() > most {
            let length = text.len();
            let text =
                format!("the record's {what} has {length} bytes; the most allowed is {most}");
            return Err(HubError::BadRequest(text));
        }
    }
    Ok(())
}

fn read(text: &[u8]) -> Result<(Signed, Generation), HubError> {
    let signed: Signed =
        serde_json::from_slice(text).map_err(|source| HubError::BadBody { source })?;
    let record = read_record(&signed)?;
    Ok((signed, record))
}

/// Checks that the record's parent is the head and its number the next.
fn require_next(environment: &EnvironmentRow, record: &Generation) -> Result<(), HubError> {
    let head = environment.head;
    let next = head.map_or(1, |head| head.number + 1);
    if record.parent == head.map(|head| head.digest) && record.number == next {
        return Ok(());
    }
    let nothing = || "nothing (no generation was published yet)".to_owned();
    Err(HubError::ParentIsNotHead {
        environment: environment.name.clone(),
        head: head.map_or_else(nothing, |head| {
            format!("generation {} ({})", head.number, head.digest)
        }),
        number: record.number,
        parent: record
            .parent
            .map_or_else(|| "none".to_owned(), |parent| parent.to_string()),
    })
}

/// Checks that the owner's cache has the whole closure, with the bytes that the record means.
async fn require_paths(
    app: &App,
    owner: &Owner,
    record: &Generation,
    subject: &str,
) -> Result<(), HubError> {
    let mut lacking = Vec::new();
    for system in record.systems.values() {
        let parts: Vec<&str> = system
            .closure
            .iter()
            .map(|one| one.path.hash_part())
            .collect();
        let present = app.database.paths(owner, &parts).await?;
        for wanted in &system.closure {
            match present.get(wanted.path.hash_part()) {
                None => lacking.push(wanted.path.to_string()),
                Some(found) if found.store_path != wanted.path => {
                    lacking.push(format!("{} (has {})", wanted.path, found.store_path));
                }
                Some(found) if found.nar_hash != wanted.nar_hash => {
                    let (have, want) = (found.nar_hash.to_sri(), wanted.nar_hash.to_sri());
                    lacking.push(format!("{} with NAR hash {want} (has {have})", wanted.path));
                }
                Some(found) if found.nar_size != wanted.nar_size => {
                    let (have, want) = (found.nar_size, wanted.nar_size);
                    lacking.push(format!("{} with NAR size {want} (has {have})", wanted.path));
                }
                Some(_) => {}
            }
        }
    }
    require_none(lacking, subject)
}

/// Checks that every document that the record names is there.
async fn require_documents(app: &App, record: &Generation, subject: &str) -> Result<(), HubError> {
    let mut lacking = Vec::new();
    for system in record.systems.values() {
        for (format, digest) in &system.sboms {
            if !app
                .storage
                .has(&layout::document(&record.environment, *digest))
                .await?
            {
                lacking.push(format!("document {digest} ({format})"));
            }
        }
    }
    require_none(lacking, subject)
}

fn require_none(mut lacking: Vec<String>, subject: &str) -> Result<(), HubError> {
    if lacking.is_empty() {
        return Ok(());
    }
    let more = lacking.len().saturating_sub(NAMED);
    lacking.truncate(NAMED);
    let mut text = lacking.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    Err(HubError::Incomplete {
        subject: subject.to_owned(),
        lacking: text,
    })
}
