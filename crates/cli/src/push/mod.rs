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
use env_spec::generation::{ClosurePath, Generation, LivePointer};
use env_spec::{EnvironmentName, Reference, Signed};
use nix_data::SecretKey;

use crate::context::{Context, now};
use crate::error::{CommandError, Doing as _, Outcome};
use crate::hub::TrustedHub;
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
        let mut present = self.environment().await?;
        if let Some(done) = self.already_there(&present, &content).await? {
            return Ok(done);
        }
        self.set_visibility(present.as_ref()).await?;
        let uploaded = self.upload().await?;

        let mut tried_before = false;
        let generation = loop {
            let head = present.as_ref().and_then(|present| present.head);
            match self.publish(&content, head).await {
                Ok(generation) => break generation,
                Err(error)
                    if error.hub_code() == Some(ErrorCode::ParentIsNotHead) && !tried_before =>
                {
                    tried_before = true;
                    present = self.environment().await?;
                    if let Some(done) = self.already_there(&present, &content).await? {
                        return Ok(Pushed {
                            paths: uploaded.paths,
                            bytes: uploaded.bytes,
                            ..done
                        });
                    }
                    let now = present.as_ref().and_then(|present| present.head);
                    let now = now.map_or(0, |head| head.number);
                    self.context.printer.say(format!(
                        "Somebody else published {name}:{now} meanwhile; publishing after it."
                    ));
                }
                Err(error) => return Err(error),
            }
        };
        self.make_live(present.as_ref(), generation).await?;
        let Uploaded { paths, bytes } = uploaded;
        Ok(Pushed {
            generation,
            is_new: true,
            moved: true,
            paths,
            bytes,
        })
    }

    async fn environment(&self) -> Outcome<Option<Environment>> {
        match self.hub.client.environment(self.order.environment).await {
            Ok(environment) => Ok(Some(environment)),
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks whether the newest generation has this content already, and makes it live if it is not.
    async fn already_there(
        &self,
        present: &Option<Environment>,
        content: &Content<'_>,
    ) -> Outcome<Option<Pushed>> {
        let Some(present) = present else {
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
            self.set_visibility(Some(present)).await?;
            return Ok(Some(done(live, false)));
        }
        // A push that was killed between its last two steps.
        if let Some(head) = present.head
            && present.live != Some(head)
            && self.has_content(head, content).await?
        {
            self.set_visibility(Some(present)).await?;
            self.make_live(Some(present), head).await?;
            return Ok(Some(done(head, true)));
        }
        Ok(None)
    }

    async fn has_content(&self, id: GenerationId, content: &Content<'_>) -> Outcome<bool> {
        let mut reference = Reference::from(self.order.environment.clone());
        reference.number = Some(id.number);
        reference.digest = Some(id.digest);
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
                provide::have(self.context, system.locked, system.environment)?;
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
        let draft = Draft {
            environment: name,
            number: head.map_or(1, |head| head.number.saturating_add(1)),
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

    async fn make_live(&self, present: Option<&Environment>, generation: GenerationId) -> Outcome {
        let name = self.order.environment;
        let pointer = LivePointer {
            environment: name.clone(),
            number: generation.number,
            digest: generation.digest,
            sequence: present
                .map_or(0, |present| present.sequence)
                .saturating_add(1),
            time: now(),
        };
        let signed = Signed::new(&pointer, &self.key)?;
        self.hub.client.put_live(name, &signed).await.map_err(|error| {
            let moved = error.code() == Some(ErrorCode::PointerMoved);
            let error = CommandError::from(error)
                .doing(format!("generation {} is published, but cannot be made live", generation.number));
            if moved { error.hint("somebody else moved the live pointer meanwhile: look at `nival generations`, then push again") } else { error }
        })?;
        self.hub.remember(&pointer)
    }
}
