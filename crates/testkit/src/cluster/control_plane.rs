//! etcd, the API server, the controllers and the scheduler, on a machine of their own.

use std::process::Command;

use super::lan::ADDRESS;
use super::pki::Pki;
use crate::{Failure, Kind, Machine, Service, World, poll, run};

const FOLDER: &str = "/etc/kubernetes";

/// The running control plane.
#[derive(Debug)]
pub(super) struct ControlPlane {
    services: Vec<Service>,
    /// Absent while it is stopped.
    api_server: Option<Service>,
    machine: Machine,
    kubeconfig: String,
}

impl ControlPlane {
    /// Starts it and waits until the API server answers.
    pub(super) fn start(world: &World, pki: &Pki) -> Result<Self, Failure> {
        let machine = world.machine(Kind::Server, "control-plane")?;
        let pki_files = [
            ("ca.crt", &pki.authority),
            ("api.crt", &pki.certificate),
            ("api.key", &pki.key),
            ("accounts.key", &pki.accounts_key),
            ("accounts.pub", &pki.accounts_public_key),
            ("tokens.csv", &pki.tokens),
        ];
        for (name, text) in pki_files {
            machine.write(&format!("{FOLDER}/pki/{name}"), text)?;
        }
        for name in ["admin", "kube-controller-manager", "kube-scheduler"] {
            machine.write(&format!("{FOLDER}/{name}.conf"), &pki.client(name))?;
        }
        let mut control_plane = Self {
            services: Vec::new(),
            api_server: None,
            machine,
            kubeconfig: pki.client("admin"),
        };
        control_plane.run("etcd", &etcd())?;
        control_plane.start_api_server()?;
        let own = |name: &str| format!("--kubeconfig={FOLDER}/{name}.conf");
        control_plane.run(
            "kube-controller-manager",
            &[
                own("kube-controller-manager"),
                "--use-service-account-credentials".to_owned(),
                format!("--service-account-private-key-file={FOLDER}/pki/accounts.key"),
                format!("--root-ca-file={FOLDER}/pki/ca.crt"),
                "--leader-elect=false".to_owned(),
                "--allocate-node-cidrs=false".to_owned(),
            ],
        )?;
        control_plane.run(
            "kube-scheduler",
            &[own("kube-scheduler"), "--leader-elect=false".to_owned()],
        )?;
        Ok(control_plane)
    }

    fn run(&mut self, program: &str, arguments: &[String]) -> Result<(), Failure> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let service = self.machine.service(program, program, &arguments)?;
        self.services.push(service);
        Ok(())
    }

    /// Starts the API server and waits until it is ready.
    pub(super) fn start_api_server(&mut self) -> Result<(), Failure> {
        let arguments = api_server();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = "kube-apiserver";
        let mut service = self.machine.service(program, program, &arguments)?;
        poll("the API server to be ready", || {
            service.check_alive()?;
            for service in &mut self.services {
                service.check_alive()?;
            }
            Ok(self.kubectl(&["get", "--raw", "/readyz"]).ok())
        })?;
        self.api_server = Some(service);
        Ok(())
    }

    /// Kills the API server as `kill -9` does.
    pub(super) fn kill_api_server(&mut self) -> Result<(), Failure> {
        let service = self.api_server.take();
        service.map_or(Ok(()), |mut service| service.kill())
    }

    pub(super) fn kubectl_command(&self) -> Result<Command, Failure> {
        let mut command = self.machine.command("kubectl")?;
        command.arg(format!("--kubeconfig={FOLDER}/admin.conf"));
        Ok(command)
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String, Failure> {
        run(self.kubectl_command()?.args(arguments))
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }
}

fn etcd() -> Vec<String> {
    let own = [
        "--data-dir=/var/lib/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        // What a crash of this machine takes with it, the next cluster makes anew.
        "--unsafe-no-fsync",
    ];
    own.map(str::to_owned).to_vec()
}

fn api_server() -> Vec<String> {
    [
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        format!("--advertise-address={ADDRESS}"),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        // Names of nodes resolve nowhere here.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        // The control plane is no node, so it reaches Services' pods by their own addresses.
        "--enable-aggregator-routing".to_owned(),
        format!("--tls-cert-file={FOLDER}/pki/api.crt"),
        format!("--tls-private-key-file={FOLDER}/pki/api.key"),
        format!("--token-auth-file={FOLDER}/pki/tokens.csv"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={FOLDER}/pki/accounts.pub"),
        format!("--service-account-signing-key-file={FOLDER}/pki/accounts.key"),
    ]
    .to_vec()
}
