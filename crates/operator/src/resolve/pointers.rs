//! The newest live pointer of each environment that this process has seen, so that none can be replayed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use env_spec::generation::LivePointer;
use env_spec::{Digest, EnvironmentName, Signed, TrustedKeys};

use super::error::ResolveError;

/// The newest pointers. They are kept for all environments that workloads use, and those are bounded by the cluster.
#[derive(Debug, Default)]
pub(super) struct Pointers(Mutex<BTreeMap<EnvironmentName, Newest>>);

#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u64,
    digest: Digest,
}

impl Pointers {
    /// Believes a pointer if a trusted key signed it, it is of this environment, and no newer one was seen.
    pub(super) fn accept(
        &self,
        signed: &Signed,
        environment: &EnvironmentName,
        trusted: &TrustedKeys,
    ) -> Result<LivePointer, ResolveError> {
        let subject = format!("the live pointer of {environment}");
        let pointer: LivePointer = signed.verify(&subject, environment.owner(), trusted)?;
        if pointer.environment != *environment {
            return Err(ResolveError::ForeignPointer {
                found: pointer.environment,
                wanted: environment.clone(),
            });
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get(environment) {
            if pointer.sequence < seen.sequence {
                return Err(ResolveError::Replayed {
                    what: subject,
                    found: pointer.sequence,
                    seen: seen.sequence,
                });
            }
            if pointer.sequence == seen.sequence && pointer.digest != seen.digest {
                return Err(ResolveError::Twofold {
                    environment: environment.clone(),
                    sequence: pointer.sequence,
                    found: pointer.digest,
                    seen: seen.digest,
                });
            }
        }
        let newest = Newest {
            sequence: pointer.sequence,
            digest: pointer.digest,
        };
        all.insert(environment.clone(), newest);
        Ok(pointer)
    }

    /// Takes over what another process saw.
    pub(super) fn saw(&self, environment: &EnvironmentName, sequence: u64, digest: Digest) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(environment).map_or(0, |seen| seen.sequence);
        if sequence > known {
            all.insert(environment.clone(), Newest { sequence, digest });
        }
    }
}

#[cfg(test)]
mod tests {
    use nix_data::SecretKey;

    use super::*;

    #[test]
    fn an_older_pointer_than_was_seen_is_refused_and_so_is_another_of_the_same_sequence() {
        let key = SecretKey::generate_from_seed("acme-1", [7; 32]).unwrap();
        let mut trusted = TrustedKeys::default();
        trusted.add("acme", key.public_key());
        let (api, web): (EnvironmentName, EnvironmentName) =
            ("acme/api".parse().unwrap(), "acme/web".parse().unwrap());
        let pointer = |environment: &EnvironmentName, sequence, digest: &[u8]| {
            let pointer = LivePointer {
                environment: environment.clone(),
                number: sequence,
                digest: Digest::of(digest),
                sequence,
                time: String::new(),
            };
            Signed::new(&pointer, &key).unwrap()
        };
        let pointers = Pointers::default();
        let accept = |signed: &Signed, environment| pointers.accept(signed, environment, &trusted);
        assert_eq!(accept(&pointer(&api, 5, b"a"), &api).unwrap().sequence, 5);
        assert!(accept(&pointer(&api, 5, b"a"), &api).is_ok());
        let error = accept(&pointer(&api, 4, b"a"), &api).unwrap_err();
        assert!(
            matches!(
                error,
                ResolveError::Replayed {
                    found: 4,
                    seen: 5,
                    ..
                }
            ),
            "{error}"
        );
        let error = accept(&pointer(&api, 5, b"b"), &api).unwrap_err();
        assert!(matches!(error, ResolveError::Twofold { .. }), "{error}");
        let error = accept(&pointer(&web, 9, b"a"), &api).unwrap_err();
        assert!(
            matches!(error, ResolveError::ForeignPointer { .. }),
            "{error}"
        );
        // What another process saw counts as if it had been seen here, and nothing older of it does.
        pointers.saw(&web, 7, Digest::of(b"a"));
        pointers.saw(&web, 3, Digest::of(b"b"));
        assert!(accept(&pointer(&web, 6, b"a"), &web).is_err());
        assert!(accept(&pointer(&web, 7, b"a"), &web).is_ok());
    }
}
