"""A client of SCRAM-SHA-256 (RFC 5802, RFC 7677) over the binary protocol, made for this test."""
import base64
import hashlib
import hmac
import os
import socket
import struct
import sys

PORT = int(sys.argv[1])
LIST, AUTH, STEP, NOOP, VERSION = 0x20, 0x21, 0x22, 0x0A, 0x0B
SCRAM = b"SCRAM-SHA-256"


def check(what, found):
    assert found, what
    print("ok", what)


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


class Wire:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, "closed"
            data += more
        return data

    def ask(self, opcode, key=b"", value=b""):
        body = len(key) + len(value)
        head = struct.pack("!BBHBBHIIQ", 0x80, opcode, len(key), 0, 0, 0, body, 7, 0)
        self.socket.sendall(head + key + value)
        _, opcode, key_len, extras, _, status, body, opaque, _ = struct.unpack(
            "!BBHBBHIIQ", self.exactly(24)
        )
        assert opaque == 7
        return status, self.exactly(body)[key_len + extras :]


def proofs(password, first, challenge, header=b"n,,"):
    """The client's last message and what the server has to prove."""
    fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
    salt, rounds = base64.b64decode(fields[b"s"]), int(fields[b"i"])
    assert rounds >= 4096
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
    client = mac(salted, b"Client Key")
    bare = b"c=" + base64.b64encode(header) + b",r=" + fields[b"r"]
    said = first + b"," + challenge + b"," + bare
    signature = mac(hashlib.sha256(client).digest(), said)
    proof = bytes(one ^ other for one, other in zip(client, signature))
    server = mac(mac(salted, b"Server Key"), said)
    return bare + b",p=" + base64.b64encode(proof), b"v=" + base64.b64encode(server)


def log_in(name, password, header=b"n,,"):
    """Status of the last answer; the server's proof is checked."""
    wire = Wire()
    nonce = base64.b64encode(os.urandom(18))
    first = b"n=" + name.replace(b"=", b"=3D").replace(b",", b"=2C") + b",r=" + nonce
    status, challenge = wire.ask(AUTH, SCRAM, header + first)
    if status != 0x21:
        return status
    assert challenge.startswith(b"r=" + nonce) and len(challenge) > len(nonce) + 20
    last, expected = proofs(password, first, challenge, header)
    status, answer = wire.ask(STEP, SCRAM, last)
    if status != 0x21:
        return status
    assert answer == expected, "the server knows no more than the client told it"
    status, answer = wire.ask(STEP, SCRAM)
    assert (status, answer) == (0, b"Authenticated")
    return wire.ask(NOOP)[0]


# The example of RFC 7677, section 3, holds this client to account.
EXAMPLE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
check("the example", proofs(b"pencil", b"n=user,r=rOprNGfwEbeRWgbNEkqO", EXAMPLE) == (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
))
check("the list", Wire().ask(LIST) == (0, b"PLAIN SCRAM-SHA-256"))
check("version before", Wire().ask(VERSION)[0] == 0)
check("nothing else before", Wire().ask(NOOP)[0] == 0x20)
check("stored keys", log_in(b"app", b"secret") == 0)
check("a plain password", log_in(b"plain", b"p=w,d") == 0)
check("no channel binding known", log_in(b"app", b"secret", b"y,,") == 0)
check("channel binding wanted", log_in(b"app", b"secret", b"p=tls-unique,,") == 0x20)
check("a wrong password", log_in(b"app", b"Secret") == 0x20)
check("an unknown user", log_in(b"nobody", b"secret") == 0x20)
check("an argon2id hash is of no use", log_in(b"hashed", b"secret") == 0x20)
check("a name with commas", log_in(b"a,b=c", b"secret") == 0x20)
print("done")
