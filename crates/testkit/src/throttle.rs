//! A slow entrance to the hub, for those who are far from it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::inside;
use crate::{Failure, HUB_ADDRESS, World};

/// What is passed on at once.
const CHUNK: usize = 16 << 10;

/// Passes connections on to the hub; what the hub answers, over all of them, comes no faster than a rate.
#[derive(Debug)]
pub struct Throttle {
    port: u16,
}

impl Throttle {
    /// Starts it, on all addresses of the world's network.
    ///
    /// # Errors
    /// Fails when it cannot listen.
    pub fn start(world: &World, bytes_per_second: u64) -> Result<Self, Failure> {
        let network = world.network();
        let listener = inside(&network, || Ok(TcpListener::bind("0.0.0.0:0")?))?;
        let port = listener.local_addr()?.port();
        let pace = Arc::new(Pace {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        });
        // Ends with the process, as a blocking accept cannot be woken and nothing depends on its end.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (pace, network) = (Arc::clone(&pace), network.clone());
                // Whoever hangs up on either side ends this connection and no other.
                thread::spawn(move || serve(client, &network, &pace).ok());
            }
        });
        Ok(Self { port })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(mut client: TcpStream, network: &Path, pace: &Pace) -> Result<(), Failure> {
    let mut hub = inside(network, || Ok(TcpStream::connect(HUB_ADDRESS)?))?;
    let (mut questions, mut answers) = (client.try_clone()?, hub.try_clone()?);
    let asking = thread::spawn(move || {
        let copied = std::io::copy(&mut questions, &mut hub);
        hub.shutdown(std::net::Shutdown::Write).ok();
        copied
    });
    let mut buffer = [0; CHUNK];
    loop {
        let count = answers.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        pace.wait_for(count);
        client.write_all(&buffer[..count])?;
    }
    client.shutdown(std::net::Shutdown::Both)?;
    asking
        .join()
        .map_err(|_panic| Failure::Text("passing on questions panicked".to_owned()))??;
    Ok(())
}

/// A rate that all connections share.
#[derive(Debug)]
struct Pace {
    bytes_per_second: u64,
    /// When the line has passed on all that was promised so far.
    free_at: Mutex<Instant>,
}

impl Pace {
    fn wait_for(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + takes;
            *free_at
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}
