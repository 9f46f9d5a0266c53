//! Messages in messages, under the bare names that containerd gives them.
//!
//! The names are written out here: asking the messages for theirs would link all that protobuf knows about every
//! message, and unpack it in the memory of every pod's shim.

use protobuf::Message;
use protobuf::well_known_types::any::Any;

/// Packs a message of a protobuf package.
pub(crate) fn pack<M: Message>(package: &str, message: &M) -> protobuf::Result<Any> {
    Ok(Any {
        type_url: format!("{package}.{}", M::NAME),
        value: message.write_to_bytes()?,
        ..Any::default()
    })
}

/// Tells whether a message has this full name, with or without an address before it.
pub(crate) fn is(any: &Any, name: &str) -> bool {
    any.type_url.rsplit('/').next() == Some(name)
}

#[cfg(test)]
mod tests {
    use containerd_shim::protos::cgroups::metrics::Metrics;
    use containerd_shim::protos::events::task::TaskOOM;
    use protobuf::MessageFull;

    use super::*;

    fn full_name<M: MessageFull>(_: &M) -> String {
        M::descriptor().full_name().to_owned()
    }

    #[test]
    fn the_written_names_are_the_messages_own() {
        let event = TaskOOM::default();
        let any = pack("containerd.events", &event).unwrap();
        assert_eq!(any.type_url, full_name(&event));
        let metrics = Metrics::default();
        let any = pack("io.containerd.cgroups.v1", &metrics).unwrap();
        assert_eq!(any.type_url, full_name(&metrics));
    }

    #[test]
    fn an_address_before_the_name_does_not_matter() {
        let mut any = Any::default();
        assert!(!is(&any, "containerd.runc.v1.Options"));
        for url in [
            "containerd.runc.v1.Options",
            "type.googleapis.com/containerd.runc.v1.Options",
        ] {
            any.type_url = url.into();
            assert!(is(&any, "containerd.runc.v1.Options"));
            assert!(!is(&any, "Options"));
        }
    }
}
