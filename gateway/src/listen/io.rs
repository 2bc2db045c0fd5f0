//! A TLS stream that HTTP owns and that still exports key material.
//!
//! rustls 0.23 has no detached exporter and hyper takes the stream, while a reply must be bound to its
//! channel after the request was read (PROTOCOL.md: label, context = report id). So the stream sits in a
//! mutex. The lock is held for one poll or one export; polls come from one task, so there is hardly
//! ever contention. When HTTP is done the socket is closed, but the TLS secrets stay for whoever still
//! holds a handle: an answer can be checked after its connection is gone.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

enum Slot {
    Live(Box<TlsStream<TcpStream>>),
    Closed(Box<rustls::Connection>),
    /// only while `Live` becomes `Closed`
    Empty,
}

type Shared = Arc<Mutex<Slot>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Slot> {
    // a panic inside rustls leaves a connection that errors on its next use: nothing to protect
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why nothing was exported.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the TLS connection exports no key material: {0}")]
pub struct ExportError(String);

#[derive(Clone)]
enum Source {
    Tls(Shared),
    #[cfg(test)]
    Fixed([u8; 32]),
}

/// Exports key material of one connection (RFC 9266, RFC 8446 §7.5), also after it was closed.
#[derive(Clone)]
pub struct ExporterHandle(Source);

impl std::fmt::Debug for ExporterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExporterHandle")
    }
}

impl ExporterHandle {
    /// 32 bytes that both ends of this connection, and nobody else, can compute.
    pub fn export(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ExportError> {
        match &self.0 {
            Source::Tls(shared) => {
                let out = [0u8; 32];
                let exported = match &*lock(shared) {
                    Slot::Live(stream) => match &**stream {
                        TlsStream::Client(s) => {
                            s.get_ref().1.export_keying_material(out, label, Some(context))
                        }
                        TlsStream::Server(s) => {
                            s.get_ref().1.export_keying_material(out, label, Some(context))
                        }
                    },
                    Slot::Closed(tls) => tls.export_keying_material(out, label, Some(context)),
                    Slot::Empty => return Err(ExportError("it is gone".to_owned())),
                };
                exported.map_err(|e| ExportError(e.to_string()))
            }
            #[cfg(test)]
            Source::Fixed(secret) => Ok(gw_proto::sm3(&[secret.as_slice(), label, context].concat()).0),
        }
    }
    /// A handle without a connection, for tests of what uses one.
    #[cfg(test)]
    pub(crate) fn fixed(secret: [u8; 32]) -> Self {
        Self(Source::Fixed(secret))
    }
}

/// What HTTP owns.
pub(crate) struct SharedIo(Shared);

impl SharedIo {
    /// Splits a stream after its handshake.
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> (Self, ExporterHandle) {
        let shared = Arc::new(Mutex::new(Slot::Live(Box::new(stream))));
        (Self(shared.clone()), ExporterHandle(Source::Tls(shared)))
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *lock(&self.0) {
            Slot::Live(stream) => poll(Pin::new(&mut **stream)),
            Slot::Closed(_) | Slot::Empty => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for SharedIo {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if let Slot::Live(stream) = std::mem::replace(&mut *slot, Slot::Empty) {
            let tls = match *stream {
                TlsStream::Client(s) => s.into_inner().1.into(),
                TlsStream::Server(s) => s.into_inner().1.into(),
            };
            *slot = Slot::Closed(Box::new(tls));
        }
    }
}

impl AsyncRead for SharedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|s| s.poll_read(cx, buf))
    }
}

impl AsyncWrite for SharedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|s| s.poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|s| s.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|s| s.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|s| s.poll_shutdown(cx))
    }
}
