//! A line to a database that can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, Debug)]
struct State {
    cuts: u64,
    open: bool,
}

/// Passes connections on to a port of this machine.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) port: u16,
    state: watch::Sender<State>,
}

impl Line {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ours = listener.local_addr().unwrap().port();
        let (state, states) = watch::channel(State { cuts: 0, open: true });
        tokio::spawn(accept(listener, (Ipv4Addr::LOCALHOST, port).into(), states));
        Self { port: ours, state }
    }

    /// Drops every connection; lets new ones through only if it stays open.
    pub(crate) fn cut(&self, open: bool) {
        self.state.send_modify(|s| *s = State { cuts: s.cuts + 1, open });
    }

    /// Lets new connections through.
    pub(crate) fn mend(&self) {
        self.state.send_modify(|s| s.open = true);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, states: watch::Receiver<State>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let mut states = states.clone();
        let State { cuts, open } = *states.borrow_and_update();
        if open {
            tokio::spawn(async move {
                let pass = async {
                    let mut far = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut near, &mut far).await
                };
                tokio::select! {
                    _ = pass => {}
                    _ = states.wait_for(|s| s.cuts != cuts) => {}
                }
            });
        }
    }
}
