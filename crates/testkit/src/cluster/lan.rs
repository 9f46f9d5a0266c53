//! The cluster's network: a switch in the world's namespace, and a cable from it to each node.

use std::process::Command;

use crate::network::Network;
use crate::{Failure, World, run, setup};

/// The address of the control plane, and of everything else in the world's namespace, as nodes see it.
pub const ADDRESS: &str = "10.99.0.1";

/// Nodes with networks of their own, joined by a switch.
#[derive(Debug)]
pub(super) struct Lan {
    nodes: Vec<Network>,
}

impl Lan {
    pub(super) fn new(world: &World, nodes: u8) -> Result<Self, Failure> {
        let switch = world.own_network();
        on(
            switch,
            &format!(
                "ip link add lan0 type bridge && ip address add {ADDRESS}/24 dev lan0 && ip link set lan0 up && \
                 echo 1 >/proc/sys/net/ipv4/ip_forward"
            ),
        )?;
        let mut lan = Self { nodes: Vec::new() };
        for number in 1..=nodes {
            let node = Network::new()?;
            let process = node.process();
            let address = address(number);
            on(
                switch,
                &format!(
                    "ip link add to-node{number} type veth peer name eth0 netns {process} && \
                     ip link set to-node{number} master lan0 up"
                ),
            )?;
            on(
                &node,
                &format!(
                    "ip address add {address}/24 dev eth0 && ip link set eth0 up && ip route add default via {ADDRESS} && \
                     echo 1 >/proc/sys/net/ipv4/ip_forward"
                ),
            )?;
            // The switch knows the way to every node's pods, so that no node has to.
            on(
                switch,
                &format!("ip route add {} via {address}", pods(number)),
            )?;
            lan.nodes.push(node);
        }
        Ok(lan)
    }

    /// Returns the network of a node, counted from one.
    pub(super) fn node(&self, number: u8) -> &Network {
        &self.nodes[usize::from(number) - 1]
    }
}

/// Returns a node's address.
pub(super) fn address(number: u8) -> String {
    format!("10.99.0.{}", 10 + u16::from(number))
}

/// Returns the addresses of a node's pods.
pub(super) fn pods(number: u8) -> String {
    format!("10.88.{number}.0/24")
}

fn on(network: &Network, script: &str) -> Result<(), Failure> {
    let tools = setup::dir().join("network/usr/bin");
    let mut command: Command = network.enter();
    command
        .args(["sh", "-euc"])
        .arg(format!("PATH={}:$PATH; {script}", tools.display()));
    run(&mut command).map(drop)
}
