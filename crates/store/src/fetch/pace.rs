//! The least speed of a download: one that only trickles would keep its slot from all others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::progress::Progress;

/// Over so much waiting for the network at least so many bytes must come: 1 KiB/s, less than any line that a node has.
pub(super) const LEAST: Pace = Pace::new(Duration::from_secs(60), 60 << 10);

/// What a download must keep up with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    window: Duration,
    least: u64,
}

/// Why the network brings no more.
#[derive(Debug)]
pub(super) enum Stopped {
    Network(reqwest::Error),
    /// So many bytes came in so many seconds of waiting.
    Slow {
        got: u64,
        seconds: u64,
    },
}

impl Pace {
    pub(super) const fn new(window: Duration, least: u64) -> Self {
        Self { window, least }
    }

    /// Passes a response's pieces on until its end, or until nobody takes more.
    ///
    /// The time in which the taker makes the network wait does not count.
    pub(super) async fn pump(
        self,
        response: &mut reqwest::Response,
        progress: &Progress,
        taker: mpsc::Sender<Bytes>,
    ) -> Result<(), Stopped> {
        let (mut waited, mut got) = (Duration::ZERO, 0);
        loop {
            let begun = Instant::now();
            let piece = response.chunk().await.map_err(Stopped::Network)?;
            let Some(piece) = piece else { return Ok(()) };
            waited += begun.elapsed();
            got += piece.len() as u64;
            progress.add_downloaded(piece.len() as u64);
            // A taker that has gone says itself why.
            if taker.send(piece).await.is_err() {
                return Ok(());
            }
            if waited >= self.window {
                if got < self.least {
                    let seconds = waited.as_secs();
                    return Err(Stopped::Slow { got, seconds });
                }
                (waited, got) = (Duration::ZERO, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// More than any client waits for.
    const ENDLESS: usize = 1 << 40;

    /// Asks a server that sends so many bytes in each step, with a pause after it, until it has sent the length or the
    /// client has enough of it.
    async fn ask(bytes: usize, length: usize, pause: Duration) -> reqwest::Response {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            assert!(client.read(&mut [0; 4096]).unwrap() > 0);
            write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            )
            .unwrap();
            for _ in 0..length / bytes {
                if client.write_all(&vec![b'x'; bytes]).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        });
        host::tls::install();
        let client = crate::source::http_client("test").unwrap();
        client
            .get(format!("http://{address}/"))
            .send()
            .await
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_source_that_trickles_is_left() {
        let pace = Pace::new(Duration::from_millis(100), 1000);
        let mut response = ask(1, ENDLESS, Duration::from_millis(10)).await;
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move { while receiver.recv().await.is_some() {} });
        let stopped = pace.pump(&mut response, &Progress::default(), sender).await;
        let Err(Stopped::Slow { got, .. }) = stopped else {
            panic!("{stopped:?}");
        };
        assert!((1..1000).contains(&got), "{got}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_is_fast_enough_comes_to_its_end_however_slow_the_taker_is() {
        let pace = Pace::new(Duration::from_millis(100), 1000);
        let mut response = ask(100_000, 20_000_000, Duration::ZERO).await;
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let taking = tokio::spawn(async move {
            let (mut taken, mut pauses) = (0, 0);
            while let Some(piece) = receiver.recv().await {
                taken += piece.len();
                pauses += 1;
                if pauses < 10 {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            }
            taken
        });
        let progress = Progress::default();
        pace.pump(&mut response, &progress, sender).await.unwrap();
        assert_eq!(taking.await.unwrap(), 20_000_000);
    }
}
