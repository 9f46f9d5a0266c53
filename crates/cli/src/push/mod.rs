//! Publishes an environment: paths, then documents, then the signed generation, then the signed live pointer.
//!
//! Each step is atomic and may be repeated: a push that was killed goes on where it was when it is run again.

mod archive;
mod record;
mod upload;

use std::collections::{BTreeMap, BTreeSet};

use api::hub::HubClient;
use api::hub::environment::{Environment, GenerationId, PutEnvironment, Visibility};
use api::hub::error::ErrorCode;
use env_spec::generation::{ClosurePath, Generation, LivePointer, RevocationList};
use env_spec::manifest::Manifest;
use env_spec::{EnvironmentName, Pin, Reference, Signed};
use nix_data::SecretKey;

use crate::context::{Context, now};
use crate::error::{CommandError, Doing as _, Outcome};
use crate::hub::{TrustedHub, require_not_revoked, successor};
use crate::provide;
use crate::push::record::{Content, Draft};
use crate::push::upload::{Target, Uploaded};

pub(crate) use crate::push::record::SystemContent;

/// What is to be published.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// Under which name.
    pub(crate) environment: &'a EnvironmentName,
    /// The manifest's text.
    pub(crate) manifest: String,
    /// What it says.
    pub(crate) decided: &'a Manifest,
    /// The lock's text.
    pub(crate) lock: &'a str,
    /// The systems that have an environment.
    pub(crate) systems: Vec<SystemContent<'a>>,
    /// What the author says of it.
    pub(crate) message: String,
    /// Whether everybody may read it.
    pub(crate) public: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    /// The generation that is live now.
    pub(crate) generation: GenerationId,
    /// Whether a new generation was made.
    pub(crate) is_new: bool,
    /// Whether the live pointer moved.
    pub(crate) moved: bool,
    /// How many paths were uploaded.
    pub(crate) paths: usize,
    /// How many bytes of them went over the wire.
    pub(crate) bytes: u64,
}

/// The state of one push.
struct Push<'a> {
    context: &'a Context,
    hub: TrustedHub,
    /// Without a limit on how long an answer takes: it comes only after the last byte of a large body.
    patient: HubClient,
    key: SecretKey,
    order: &'a Order<'a>,
}

/// What the hub has.
struct Present {
    environment: Option<Environment>,
    /// What is live, by a pointer that a trusted key signed.
    live: Option<GenerationId>,
    /// The sequence of the pointer after it.
    next_sequence: u64,
    /// What the owner revoked.
    revoked: RevocationList,
}

/// Publishes.
///
/// # Errors
/// Fails when the hub refuses or somebody else pushes all the time; what was uploaded stays for the next time.
pub(crate) async fn push(context: &Context, order: &Order<'_>) -> Outcome<Pushed> {
    let reference = Reference::from(order.environment.clone());
    let push = Push {
        context,
        hub: TrustedHub::of(context, &reference)?,
        patient: context.patient_hub()?,
        key: context.keys().signing(&context.settings)?,
        order,
    };
    push.run().await
}

impl Push<'_> {
    async fn run(&self) -> Outcome<Pushed> {
        let name = self.order.environment;
        let content = Content {
            manifest: &self.order.manifest,
            lock: self.order.lock,
            systems: &self.order.systems,
        };
        let mut present = self.present().await?;
        if let Some(done) = self.already_there(&present, &content).await? {
            return Ok(done);
        }
        self.set_visibility(present.environment.as_ref()).await?;
        let uploaded = self.upload().await?;

        let mut tried_before = false;
        let generation = loop {
            let head = present.environment.as_ref().and_then(|one| one.head);
            match self.publish(&content, head).await {
                Ok(generation) => break generation,
                Err(error)
                    if error.hub_code() == Some(ErrorCode::ParentIsNotHead) && !tried_before =>
                {
                    tried_before = true;
                    present = self.present().await?;
                    if let Some(done) = self.already_there(&present, &content).await? {
                        return Ok(Pushed {
                            paths: uploaded.paths,
                            bytes: uploaded.bytes,
                            ..done
                        });
                    }
                    let now = present.environment.as_ref().and_then(|one| one.head);
                    let now = now.map_or(0, |head| head.number);
                    self.context.printer.say(format!(
                        "Somebody else published {name}:{now} meanwhile; publishing after it."
                    ));
                }
                Err(error) => return Err(error),
            }
        };
        self.make_live(&present, generation).await?;
        let Uploaded { paths, bytes } = uploaded;
        Ok(Pushed {
            generation,
            is_new: true,
            moved: true,
            paths,
            bytes,
        })
    }

    /// Asks what the hub has. A live pointer that is not believed ends the push before anything is signed after it.
    async fn present(&self) -> Outcome<Present> {
        let name = self.order.environment;
        let environment = match self.hub.client.environment(name).await {
            Ok(environment) => Some(environment),
            Err(error) if error.code() == Some(ErrorCode::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let live = self.hub.live(name).await?;
        if live.is_none() {
            self.hub.check_never_live(name)?;
        }
        let sequence = live.as_ref().map_or(0, |live| live.sequence);
        let live = live.map(|live| GenerationId {
            number: live.number,
            digest: live.digest,
        });
        Ok(Present {
            environment,
            live,
            next_sequence: successor(sequence, "move of the live pointer")?,
            revoked: self.hub.revocations(name.owner()).await?,
        })
    }

    /// Looks whether the newest generation has this content already, and makes it live if it is not.
    async fn already_there(
        &self,
        present: &Present,
        content: &Content<'_>,
    ) -> Outcome<Option<Pushed>> {
        let Some(environment) = &present.environment else {
            return Ok(None);
        };
        let done = |generation, moved| Pushed {
            generation,
            is_new: false,
            moved,
            paths: 0,
            bytes: 0,
        };
        if let Some(live) = present.live
            && self.has_content(live, content).await?
        {
            self.require_not_revoked(present, live)?;
            self.set_visibility(Some(environment)).await?;
            return Ok(Some(done(live, false)));
        }
        // A push that was killed between its last two steps.
        if let Some(head) = environment.head
            && present.live != Some(head)
            && self.has_content(head, content).await?
        {
            self.require_not_revoked(present, head)?;
            self.set_visibility(Some(environment)).await?;
            self.make_live(present, head).await?;
            return Ok(Some(done(head, true)));
        }
        Ok(None)
    }

    /// The same content under a new number would run again what was revoked, so that nothing is published.
    fn require_not_revoked(&self, present: &Present, id: GenerationId) -> Outcome {
        let pin = Pin {
            hub: None,
            environment: self.order.environment.clone(),
            number: id.number,
            digest: id.digest,
        };
        require_not_revoked(&present.revoked, &pin)
            .doing(|| "this content was published before".to_owned())
    }

    async fn has_content(&self, id: GenerationId, content: &Content<'_>) -> Outcome<bool> {
        let reference = self.reference(id);
        match self.hub.resolve(&reference).await {
            Ok(published) => Ok(content.is_in(&published.generation)),
            Err(error) if error.hub_error().is_some() => Err(error),
            Err(error) => {
                // Somebody else's work may lie below one's own; it only cannot be "the same already".
                self.context.printer.warn(format!(
                    "{reference} is not trusted here: {}",
                    error.lines().join(": ")
                ));
                Ok(false)
            }
        }
    }

    fn reference(&self, id: GenerationId) -> Reference {
        let mut reference = Reference::from(self.order.environment.clone());
        reference.number = Some(id.number);
        reference.digest = Some(id.digest);
        reference
    }

    async fn set_visibility(&self, present: Option<&Environment>) -> Outcome {
        let visibility = match present {
            None if self.order.public => Visibility::Public,
            None => Visibility::Private,
            Some(present) if self.order.public && present.visibility == Visibility::Private => {
                Visibility::Public
            }
            Some(_) => return Ok(()),
        };
        self.hub
            .client
            .put_environment(self.order.environment, &PutEnvironment { visibility })
            .await?;
        Ok(())
    }

    async fn upload(&self) -> Outcome<Uploaded> {
        let mut paths = BTreeMap::new();
        let mut environments = BTreeSet::new();
        for system in &self.order.systems {
            environments.insert(system.environment.path.clone());
            for one in &system.environment.closure {
                paths.insert(one.path.clone(), one.clone());
            }
        }
        let owner = self.order.environment.owner();
        let target = Target {
            hub: &self.patient,
            owner,
            key: &self.key,
        };
        let missing = target.missing(&paths).await?;
        for system in &self.order.systems {
            // What the hub has, this machine need not have: a lock of several systems can be pushed from one.
            let lacks = |one: &ClosurePath| missing.contains(&one.path);
            if system.environment.closure.iter().any(lacks) {
                provide::have(
                    self.context,
                    self.order.decided,
                    system.locked,
                    system.environment,
                )?;
            }
        }
        target
            .upload(self.context.printer, &paths, &missing, &environments)
            .await
            .doing(|| format!("cannot upload to the cache of {owner}"))
    }

    /// Uploads the documents, then the record that names them.
    async fn publish(
        &self,
        content: &Content<'_>,
        head: Option<GenerationId>,
    ) -> Outcome<GenerationId> {
        let name = self.order.environment;
        if let Some(head) = head {
            // The new record names it as its parent: what nobody trusted has signed must not get in that way.
            let head = self.reference(head);
            self.hub
                .resolve(&head)
                .await
                .doing(|| format!("cannot publish after {head}"))?;
        }
        let draft = Draft {
            environment: name,
            number: successor(head.map_or(0, |head| head.number), "generation")?,
            parent: head.map(|head| head.digest),
            created: now(),
            author: self.context.author(),
            message: &self.order.message,
        };
        let (generation, documents): (Generation, _) = draft.finish(content);
        for (digest, document) in documents {
            self.patient
                .put_document(name, digest, document.into())
                .await
                .doing(|| format!("cannot upload the bill of materials {digest}"))?;
        }
        generation.check(name, None)?;
        let signed = Signed::new(&generation, &self.key)?;
        self.patient.post_generation(name, &signed).await?;
        Ok(GenerationId {
            number: generation.number,
            digest: signed.digest(),
        })
    }

    async fn make_live(&self, present: &Present, generation: GenerationId) -> Outcome {
        let name = self.order.environment;
        let pointer = LivePointer {
            environment: name.clone(),
            number: generation.number,
            digest: generation.digest,
            sequence: present.next_sequence,
            time: now(),
        };
        let signed = Signed::new(&pointer, &self.key)?;
        self.hub.client.put_live(name, &signed).await.map_err(|error| {
            let moved = error.code() == Some(ErrorCode::PointerMoved);
            let error = CommandError::from(error)
                .doing(format!("generation {} is published, but cannot be made live", generation.number));
            if moved { error.hint("somebody else moved the live pointer meanwhile: look at `nival generations`, then push again") } else { error }
        })?;
        if let Err(error) = self.hub.remember(&pointer) {
            // It is published: to say that it failed would make somebody do it again.
            self.context.printer.warn(format!(
                "cannot remember the live pointer: {}",
                error.lines().join(": ")
            ));
        }
        Ok(())
    }
}
