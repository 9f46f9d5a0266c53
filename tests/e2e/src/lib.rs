//! Real containerd, runc, hub, agent and shim, as processes.
