//! Sockets of this host talking to each other: every call on a real descriptor.

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::poller::{Events, Interest, Poller};

const OPTIONS: SocketOptions = SocketOptions { backlog: 16, mark: None };

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn wait_readable(fd: &impl AsFd) {
    let poller = Poller::new().unwrap();
    poller.add(fd.as_fd(), 0, Interest::READABLE).unwrap();
    assert_eq!(poller.wait(&mut Events::new(), Some(Duration::from_secs(10))).unwrap(), 1);
}

/// A connection: the accepted end, and the client's.
fn connection() -> (Stream, TcpStream) {
    let listener = Listener::tcp(loopback(), &OPTIONS).unwrap();
    let client = TcpStream::connect(listener.local_address().inet().unwrap()).unwrap();
    wait_readable(&listener);
    (listener.accept().unwrap().0, client)
}

fn would_block<T: std::fmt::Debug>(answer: io::Result<T>) -> bool {
    Trouble::of(&answer.unwrap_err()) == Trouble::WouldBlock
}

#[test]
fn a_tcp_connection_is_accepted_and_both_ends_are_known() {
    let listener = Listener::tcp(loopback(), &OPTIONS).unwrap();
    assert!(would_block(listener.accept()));
    let address = listener.local_address().inet().unwrap();
    assert_ne!(address.port(), 0);
    let client = TcpStream::connect(address).unwrap();
    wait_readable(&listener);
    let (stream, peer) = listener.accept().unwrap();
    assert_eq!(peer, PeerAddress::Inet(client.local_addr().unwrap()));
    assert_eq!(stream.peer_address().unwrap(), peer);
    assert_eq!(stream.local_address().unwrap(), LocalAddress::Inet(address));
}

#[test]
fn accepted_descriptors_neither_block_nor_survive_an_exec() {
    let (stream, _client) = connection();
    assert!(would_block(stream.read(&mut [0; 8])));
    let flags = rustix::io::fcntl_getfd(&stream).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn bytes_go_both_ways() {
    let (stream, mut client) = connection();
    client.write_all(b"get k\r\n").unwrap();
    wait_readable(&stream);
    let mut buffer = [0; 64];
    let received = stream.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..received], b"get k\r\n");

    let pieces =
        [IoSlice::new(b"VALUE"), IoSlice::new(b""), IoSlice::new(b" k"), IoSlice::new(b"!")];
    assert_eq!(stream.write_vectored(&pieces).unwrap(), 8);
    assert_eq!(stream.write(b"END").unwrap(), 3);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "VALUE k!END");

    drop(client);
    wait_readable(&stream);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "the end of the stream");
}

#[test]
fn more_pieces_than_the_kernel_takes_are_a_short_write() {
    let (stream, _client) = connection();
    let pieces = vec![IoSlice::new(b"x"); IOVECS_MAX + 100];
    assert_eq!(stream.write_vectored(&pieces).unwrap(), IOVECS_MAX);
}

#[test]
fn a_peer_that_does_not_read_makes_writes_short_and_then_block() {
    let (stream, _client) = connection();
    let piece = vec![b'x'; 1 << 20];
    // The kernel's buffers are a few megabytes at the most.
    let blocked = (0..1000).find_map(|_| stream.write(&piece).err()).expect("buffers end");
    assert_eq!(Trouble::of(&blocked), Trouble::WouldBlock);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_not_a_signal() {
    let (stream, client) = connection();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_readable(&stream);
    assert_eq!(Trouble::of(&stream.read(&mut [0; 8]).unwrap_err()), Trouble::Closed);
    assert_eq!(Trouble::of(&stream.write(b"x").unwrap_err()), Trouble::Closed);
    let pieces = [IoSlice::new(b"x")];
    assert_eq!(Trouble::of(&stream.write_vectored(&pieces).unwrap_err()), Trouble::Closed);
    assert_eq!(Trouble::of(&stream.peer_address().unwrap_err()), Trouble::Closed);
}

#[test]
fn a_reset_is_what_the_peer_of_a_closed_slow_reader_sees() {
    let (stream, mut client) = connection();
    stream.reset_on_close().unwrap();
    drop(stream);
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn options_reach_the_kernel() {
    let (stream, _client) = connection();
    for on in [true, false] {
        stream.set_nodelay(on).unwrap();
        stream.set_keepalive(on).unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_nodelay().unwrap(), on);
        assert_eq!(socket.keepalive().unwrap(), on);
    }
    assert!(stream.as_raw_fd() > 2);
}

#[test]
fn an_address_in_use_is_refused_and_free_again_after_a_restart() {
    let listener = Listener::tcp(loopback(), &OPTIONS).unwrap();
    let address = listener.local_address().inet().unwrap();
    let error = Listener::tcp(address, &OPTIONS).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let mut client = TcpStream::connect(address).unwrap();
    wait_readable(&listener);
    // We close first, so the lingering end of the connection is ours.
    drop(listener.accept().unwrap());
    drop(listener);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    drop(client);
    Listener::tcp(address, &OPTIONS).unwrap();
}

#[test]
fn an_ipv6_listener_leaves_ipv4_to_others() {
    if !ipv6_available() {
        let error = Listener::tcp("[::1]:0".parse().unwrap(), &OPTIONS).unwrap_err();
        let kinds = [Some(libc::EADDRNOTAVAIL), Some(libc::EAFNOSUPPORT)];
        assert!(kinds.contains(&error.raw_os_error()), "{error}");
        return;
    }
    let six = Listener::tcp("[::]:0".parse().unwrap(), &OPTIONS).unwrap();
    let port = six.local_address().inet().unwrap().port();
    let four = Listener::tcp(SocketAddr::from(([0, 0, 0, 0], port)), &OPTIONS).unwrap();
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    wait_readable(&four);
    assert!(would_block(six.accept()));
    let _client = TcpStream::connect(("::1", port)).unwrap();
    wait_readable(&six);
    assert!(matches!(six.accept().unwrap().1, PeerAddress::Inet(SocketAddr::V6(_))));
}

#[test]
fn a_mark_is_set_or_refused() {
    let marked = SocketOptions { mark: Some(7), ..OPTIONS };
    match Listener::tcp(loopback(), &marked) {
        Ok(listener) => assert_eq!(socket2::SockRef::from(&listener).mark().unwrap(), 7),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
    }
}

#[test]
fn a_unix_socket_has_exactly_the_mode_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o700, 0o777, 0o660, 0o600] {
        let path = directory.path().join(format!("{mode:o}"));
        let _listener = Listener::unix(&path, mode, &OPTIONS).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, mode);
    }
    let path = directory.path().join("high");
    let _listener = Listener::unix(&path, 0o7700, &OPTIONS).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn the_kernel_attests_a_unix_peer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Listener::unix(&path, 0o700, &OPTIONS).unwrap();
    assert_eq!(listener.local_address(), &LocalAddress::Unix(path.clone()));
    assert!(would_block(listener.accept()));
    let mut client = UnixStream::connect(&path).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    let ourselves = UnixPeer {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: std::process::id(),
    };
    assert_eq!(peer, PeerAddress::Unix(ourselves));
    assert_eq!(stream.peer_address().unwrap(), peer);
    assert_eq!(stream.local_address().unwrap(), LocalAddress::Unix(path));
    assert!(would_block(stream.read(&mut [0; 8])));
    stream.write(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert!(stream.set_nodelay(true).is_err());
}

#[test]
fn only_a_socket_that_nobody_answers_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let listen = |path: &Path| Listener::unix(path, 0o700, &OPTIONS);

    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let listener = listen(&stale).unwrap();
    UnixStream::connect(&stale).unwrap();
    drop(listener);

    let live = directory.path().join("live");
    let listener = UnixListener::bind(&live).unwrap();
    assert!(matches!(listen(&live), Err(UnixListenError::InUse(path)) if path == live));
    listener.accept().unwrap();
    UnixStream::connect(&live).unwrap();

    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = listen(&file).unwrap_err();
    assert!(error.to_string().ends_with("file exists and is not a socket; it was left alone"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&stale, &link).unwrap();
    assert!(matches!(listen(&link), Err(UnixListenError::NotASocket(_))));

    let datagram = directory.path().join("datagram");
    let _owner = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    assert!(matches!(listen(&datagram), Err(UnixListenError::Io { .. })));
    assert!(datagram.exists());
}

#[test]
fn a_busy_unix_listener_is_still_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busy");
    let owner = Listener::unix(&path, 0o700, &SocketOptions { backlog: 0, mark: None }).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    let mut clients = Vec::new();
    let full = (0..8).any(|_| {
        let kind = socket2::Type::STREAM.nonblocking();
        let client = socket2::Socket::new(socket2::Domain::UNIX, kind, None).unwrap();
        let refused = client.connect(&address).is_err();
        clients.push(client);
        refused
    });
    assert!(full, "a backlog of nothing fills up");
    let second = Listener::unix(&path, 0o700, &OPTIONS);
    assert!(matches!(second, Err(UnixListenError::InUse(_))));
    owner.accept().unwrap();
}

#[test]
fn unix_errors_name_the_path() {
    let long = Path::new("/tmp").join("x".repeat(200));
    let error = Listener::unix(&long, 0o700, &OPTIONS).unwrap_err();
    assert!(matches!(&error, UnixListenError::PathTooLong(path) if *path == long));
    let missing = Path::new("/nonexistent/socket");
    let error = Listener::unix(missing, 0o700, &OPTIONS).unwrap_err().to_string();
    let expected = "cannot listen on /nonexistent/socket: No such file or directory (os error 2)";
    assert_eq!(error, expected);
}

#[test]
fn datagrams_come_whole_or_are_known_to_be_cut() {
    let ours = Datagram::bind(loopback(), &OPTIONS).unwrap();
    let theirs = UdpSocket::bind(loopback()).unwrap();
    let from = theirs.local_addr().unwrap();
    let mut buffer = [0; 16];
    assert!(would_block(ours.receive(&mut buffer)));
    for bytes in [0, 1, 16, 17, 1000] {
        theirs.send_to(&vec![b'x'; bytes], ours.local_address()).unwrap();
        wait_readable(&ours);
        let received = ours.receive(&mut buffer).unwrap();
        let expected = Received { bytes: bytes.min(16), from, truncated: bytes > 16 };
        assert_eq!(received, expected);
    }
}

#[test]
fn a_datagram_goes_out_in_one_piece() {
    let ours = Datagram::bind(loopback(), &OPTIONS).unwrap();
    let theirs = UdpSocket::bind(loopback()).unwrap();
    let to = theirs.local_addr().unwrap();
    ours.send(&[IoSlice::new(b"frame "), IoSlice::new(b"END")], to).unwrap();
    let mut buffer = [0; 32];
    let (bytes, from) = theirs.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..bytes], from), (b"frame END".as_slice(), ours.local_address()));
    let huge = vec![0; 65_508];
    assert!(ours.send(&[IoSlice::new(&huge)], to).is_err());
}

#[test]
fn cloned_datagram_sockets_share_the_port_and_others_may_not() {
    let ours = Datagram::bind(loopback(), &OPTIONS).unwrap();
    let clone = ours.try_clone().unwrap();
    assert_eq!(clone.local_address(), ours.local_address());
    let theirs = UdpSocket::bind(loopback()).unwrap();
    theirs.send_to(b"x", ours.local_address()).unwrap();
    wait_readable(&clone);
    assert_eq!(clone.receive(&mut [0; 8]).unwrap().bytes, 1);
    assert!(would_block(ours.receive(&mut [0; 8])));
    let error = Datagram::bind(ours.local_address(), &OPTIONS).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn errors_are_classified() {
    let of = |code| Trouble::of(&io::Error::from_raw_os_error(code));
    assert_eq!(of(libc::EWOULDBLOCK), Trouble::WouldBlock);
    assert_eq!(of(libc::EINTR), Trouble::Interrupted);
    assert_eq!(of(libc::EPIPE), Trouble::Closed);
    assert_eq!(of(libc::ECONNABORTED), Trouble::Closed);
    assert_eq!(of(libc::EMFILE), Trouble::Exhausted);
    assert_eq!(of(libc::EBADF), Trouble::Other);
    assert_eq!(Trouble::of(&io::Error::other("ours")), Trouble::Other);
}

#[test]
fn ipv6_answers_what_a_bind_answers() {
    let has_loopback = std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|table| {
        table.lines().any(|line| line.starts_with("00000000000000000000000000000001 "))
    });
    assert_eq!(ipv6_available(), has_loopback);
}

#[test]
fn addresses_are_shown_as_people_write_them() {
    let inet = LocalAddress::Inet("[::1]:11211".parse().unwrap());
    assert_eq!(inet.to_string(), "[::1]:11211");
    assert_eq!(LocalAddress::Unix("/run/k.sock".into()).to_string(), "/run/k.sock");
}
