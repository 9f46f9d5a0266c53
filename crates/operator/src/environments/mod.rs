//! `Environment` resources: one in each namespace for each environment that its workloads run in, with how they stand.

mod conditions;
mod status;

#[cfg(test)]
mod looks;
#[cfg(test)]
mod tests;

use api::kubernetes::{Environment, VERSION};
use env_spec::EnvironmentName;
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use workload::names::{
    GROUP, MANAGED_BY, OPERATOR, environment_resource, environment_resource_apart,
};

use crate::rollouts::State;
use crate::rollouts::index::Resource;
use status::Seen;

/// Looks at an environment as a namespace uses it.
pub(crate) async fn look(
    state: &State,
    namespace: &str,
    environment: &EnvironmentName,
) -> Result<(), kube::Error> {
    let (resources, is_used) = state.with(|index| {
        let resources = index.resources(namespace, environment);
        (resources, index.is_used(namespace, environment))
    });
    let api: Api<Environment> = Api::namespaced(state.client.clone(), namespace);
    let place = Place {
        state,
        api: &api,
        namespace,
    };
    if resources.is_empty() && is_used {
        let mut name = environment_resource(environment);
        let mut made = place.make(&name, environment).await;
        if made.as_ref().is_err_and(is_taken) {
            name = environment_resource_apart(environment);
            made = place.make(&name, environment).await;
        }
        return place.put(&name, made, environment).await;
    }
    for (name, resource) in resources {
        // What a person has suspended is still suspended when somebody uses it again.
        if !is_used && resource.managed && !resource.suspend {
            place.remove(&name, &resource).await?;
        } else {
            place.write(&name, &resource, environment).await?;
        }
    }
    Ok(())
}

/// Where the resources of one look are.
struct Place<'a> {
    state: &'a State,
    api: &'a Api<Environment>,
    namespace: &'a str,
}

impl Place<'_> {
    /// Makes a resource. Not forced: one that a person has made for another environment stays what it is.
    async fn make(
        &self,
        name: &str,
        environment: &EnvironmentName,
    ) -> Result<Environment, kube::Error> {
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Environment",
            "metadata": { "name": name, "labels": { MANAGED_BY: OPERATOR } },
            "spec": { "environment": environment.to_string() },
        });
        let how = PatchParams::apply(OPERATOR);
        self.api.patch(name, &how, &Patch::Apply(object)).await
    }

    async fn put(
        &self,
        name: &str,
        made: Result<Environment, kube::Error>,
        environment: &EnvironmentName,
    ) -> Result<(), kube::Error> {
        let made = match made {
            // The namespace is going; nothing is made there any more, and its workloads go, too.
            Err(kube::Error::Api(status)) if is_ending(status.code, &status.message) => {
                return Ok(());
            }
            other => other?,
        };
        let (items, resources) = self.state.with(|index| {
            let items = index.put_resource(self.namespace.to_owned(), name.to_owned(), Some(made));
            (items, index.resources(self.namespace, environment))
        });
        self.state.look_at(items);
        for (name, resource) in resources {
            self.write(&name, &resource, environment).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        name: &str,
        resource: &Resource,
        environment: &EnvironmentName,
    ) -> Result<(), kube::Error> {
        let status = self.state.with(|index| {
            Seen {
                index,
                namespace: self.namespace,
                environment,
                resource,
                now: Timestamp::now(),
            }
            .status()
        });
        if status == resource.status {
            return Ok(());
        }
        tracing::debug!(name, namespace = self.namespace, live = ?status.live, before = ?resource.status.live, "writing the state");
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Environment",
            // One of that name that is gone must not be made by this.
            "metadata": { "name": name, "uid": resource.uid },
            "status": status,
        });
        let how = PatchParams::apply(OPERATOR).force();
        let answer = self
            .api
            .patch_status(name, &how, &Patch::Apply(object))
            .await;
        // A person may have changed it meanwhile, and the watch brings only what is not known yet.
        let written = match answer {
            Ok(written) => Some(written),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            // It is another of that name: the watch tells.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) => return Err(error),
        };
        self.state.take(
            |index| {
                let known = index.resource(self.namespace, name);
                known.is_some_and(|known| known.uid == resource.uid)
            },
            |index| index.put_resource(self.namespace.to_owned(), name.to_owned(), written),
        );
        Ok(())
    }

    async fn remove(&self, name: &str, resource: &Resource) -> Result<(), kube::Error> {
        let how = DeleteParams::default().preconditions(Preconditions {
            uid: Some(resource.uid.clone()),
            resource_version: None,
        });
        match self.api.delete(name, &how).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Tells whether somebody else has written another environment into the resource of this name.
fn is_taken(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields = causes.map(|cause| cause.field.as_str());
    status.code == 409 && fields.any(|field| field == ".spec.environment")
}

fn is_ending(code: u16, message: &str) -> bool {
    code == 404 || (code == 403 && message.contains("being terminated"))
}
