//! Stands in for systemd on machines that have none: a supervisor that runs containerd, and the `systemctl` that asks it.
//!
//! Both are real programs on the machine, and speak through files of the machine, as systemd and its `systemctl` do: so an
//! installer in a container, which has other processes than the machine, can ask for a restart as it does on real nodes.

/// The program `systemctl` of such a machine. It knows one unit, `containerd`, and of the verbs what installers need.
pub(crate) const STAND_IN: &str = include_str!("services/systemctl.sh");

/// Runs containerd (`$1`) until it is killed, and restarts it when it is asked to. The rest is the command that tells
/// whether containerd is ready.
pub(crate) const SUPERVISOR: &str = include_str!("services/supervisor.sh");
