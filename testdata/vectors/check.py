#!/usr/bin/python3
"""Recomputes the test vectors from docs/format.md, with other libraries than
Backstay uses: /usr/bin/python3 with Debian's python3-cryptography and
python3-zstandard, and nothing of ours.

Prints what it checked; exits with status 1 on the first mismatch. Arguments
name the checks to make, none means all. Sealing to
public keys (HPKE with X-Wing) is not checked here: these libraries do not have
it; the Go tests open those.
"""

import hashlib
import hmac
import json
import os
import struct
import sys

import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = os.path.dirname(os.path.abspath(__file__))


class Mismatch(Exception):
    pass


def need(ok, what):
    if not ok:
        raise Mismatch(what)


def same(got, want, what):
    need(got == want, f"{what}: got {show(got)}, want {show(want)}")


def show(x):
    return (x.hex() if isinstance(x, (bytes, bytearray)) else repr(x))[:200]


def load(name):
    with open(os.path.join(HERE, name + ".json"), encoding="utf-8") as f:
        return json.load(f)


def h(text):
    return bytes.fromhex(text)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(key, label, n):
    return HKDFExpand(hashes.SHA256(), n, label).derive(key)


def u8(n):
    return struct.pack(">B", n)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


class Reader:
    """The encoding of section 1."""

    def __init__(self, b):
        self.b, self.at = b, 0

    def raw(self, n):
        need(self.at + n <= len(self.b), "ends too soon")
        self.at += n
        return self.b[self.at - n : self.at]

    def u8(self):
        return self.raw(1)[0]

    def u32(self):
        return struct.unpack(">I", self.raw(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.raw(8))[0]

    def i64(self):
        return struct.unpack(">q", self.raw(8))[0]

    def bytes(self):
        return self.raw(self.u32())

    def list(self, item):
        return [item() for _ in range(self.u32())]

    def ref(self):
        return {"id": self.raw(32), "key": self.raw(32), "len": self.u32()}

    def end(self):
        need(self.at == len(self.b), "bytes left over")


def verify(public, kind, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, b"backstay/v1/" + kind + b"\0" + sha256(message))
    except InvalidSignature:
        raise Mismatch("signature of a " + kind.decode()) from None


def public_of(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


# Section 4.


def padme(n):
    e = n.bit_length() - 1
    z = e - e.bit_length()
    return -(-n // (1 << z)) << z


def open_object(scope, kind, ident, key, length, sealed):
    """Returns the plaintext and the encoding."""
    same(sha256(sealed), ident, "id of an object")
    aad = u8(1) + u8(kind) + scope
    try:
        encoded = AESGCM(expand(key, b"backstay/v1/chunk-enc", 32)).decrypt(bytes(12), sealed, aad)
    except InvalidTag:
        raise Mismatch("an object does not open") from None
    stripped = encoded.rstrip(b"\0")
    need(stripped[-1:] == b"\x80", "padding has no end")
    same(len(encoded), padme(len(stripped)), "padded length")
    comp, n, body = stripped[0], int.from_bytes(stripped[1:4], "big"), stripped[4:-1]
    same(n, length, "plain_len")
    if comp == 1:
        body = zstandard.ZstdDecompressor().decompress(body, max_output_size=length)
    else:
        same(comp, 0, "comp")
    same(len(body), length, "length of the plaintext")
    return body, encoded


def object_key(secret, scope, kind, encoded):
    return mac(secret, b"backstay/v1/chunk-key\0" + u8(1) + u8(kind) + scope + u64(len(encoded)) + encoded)


def counter(n):
    out, i = bytearray(), 0
    while len(out) < n:
        out += sha256(u64(i))
        i += 1
    return bytes(out[:n])


def lines(n):
    out, i = bytearray(), 0
    while len(out) < n:
        out += b"%d\n" % i
        i += 1
    return bytes(out[:n])


def check_objects():
    v = load("objects")
    secret, scope = h(v["Secret"]), h(v["Scope"])
    opened = rebuilt = 0
    for o in v["Objects"]:
        plain = {"counter": counter, "lines": lines}[o["Pattern"]](o["Size"])
        ident, key, kind = h(o["ID"]), h(o["Key"]), o["Kind"]
        if o.get("Sealed"):
            got, encoded = open_object(scope, kind, ident, key, o["Size"], h(o["Sealed"]))
            same(got, plain, "plaintext of " + o["Name"])
            same(encoded[0], o["Comp"], "comp of " + o["Name"])
            same(object_key(secret, scope, kind, encoded), key, "key of " + o["Name"])
            opened += 1
        if o["Comp"] == 0:  # stored: the whole object follows from the document
            body = bytes([0]) + len(plain).to_bytes(3, "big") + plain + b"\x80"
            encoded = body.ljust(padme(len(body)), b"\0")
            same(len(encoded), o["Padded"], "padded length of " + o["Name"])
            same(object_key(secret, scope, kind, encoded), key, "key of " + o["Name"])
            aad = u8(1) + u8(kind) + scope
            sealed = AESGCM(expand(key, b"backstay/v1/chunk-enc", 32)).encrypt(bytes(12), encoded, aad)
            same(sha256(sealed), ident, "id of " + o["Name"])
            rebuilt += 1
    need(opened >= 5 and rebuilt >= 5, "too few objects")
    return f"{opened} objects opened, {rebuilt} sealed anew to the same ids"


# Sections 2 and 3.


def check_keys():
    v = load("keys")
    for u in v["Users"]:
        urk, gen, epoch = h(u["URK"]), b"%d" % u["Gen"], b"%d" % u["Epoch"]
        seed = expand(urk, b"backstay/v1/usr/sign/" + gen, 32)
        same(seed, h(u["IdentitySeed"]), "seed of IK")
        same(public_of(seed), h(u["IdentityPublic"]), "public half of IK")
        same(expand(urk, b"backstay/v1/usr/scope/" + epoch, 32), h(u["Scope"]), "S")
        same(expand(urk, b"backstay/v1/usr/chunker/" + epoch, 32), h(u["Chunker"]), "K")
    for o in v["Orgs"]:
        ork, gen = h(o["ORK"]), b"%d" % o["Gen"]
        for name, label in (("Root", b"root"), ("Receipt", b"receipt")):
            seed = expand(ork, b"backstay/v1/org/" + label + b"/" + gen, 32)
            same(seed, h(o[name + "Seed"]), name)
            same(public_of(seed), h(o[name + "Public"]), name)
    g = v["Gear"]
    table = struct.unpack(">256Q", expand(h(g["Chunker"]), b"backstay/v1/gear", 2048))
    same([f"{x:016x}" for x in table[: len(g["First"])]], g["First"], "gear table")
    cuts = cut(table, counter(g["Size"]))
    same(cuts, g["Cuts"], "cuts")
    return f"{len(v['Users'])} users' and {len(v['Orgs'])} organisations' keys, {len(cuts)} cuts"


def cut(table, data):
    cuts, start = [], 0
    while start < len(data):
        rest = data[start : start + 4194304]
        n, hashed = len(rest), 0
        for i in range(262080, len(rest)):
            hashed = (hashed << 1) + table[rest[i]] & 0xFFFFFFFFFFFFFFFF
            count = i + 1
            if count > 262144 and hashed >> (42 if count < 1048576 else 46) == 0:
                n = count
                break
        cuts.append(n)
        start += n
    return cuts


# Section 5.

TYPES = {1: "file", 2: "folder", 3: "symlink", 4: "fifo", 5: "socket", 6: "char", 7: "block"}


def read_time(r):
    seconds, nanoseconds = r.i64(), r.u32()
    need(nanoseconds < 10**9, "nanoseconds")
    return seconds, nanoseconds


def read_entry(r, folder, refs, used):
    def index(kind):
        i = r.u32()
        need(i < len(refs), "index of a ref")
        need(used.setdefault(i, kind) == kind, "a ref of two kinds")
        need(list(used) == list(range(len(used))), "order of refs")
        return refs[i]

    name = r.bytes()
    need(name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= 1024, "name")
    e = {"Path": (b"" if folder == b"/" else folder) + b"/" + name, "Type": TYPES[r.u8()]}
    flags, mode = r.u8(), r.u32()
    need(flags < 8 and mode < 0o10000, "flags or mode")
    r.raw(8), r.bytes(), r.bytes(), read_time(r), read_time(r), r.raw(8), r.raw(8), r.u32()
    form = r.u8()
    if form == 1:
        names = [a[0] for a in r.list(lambda: (r.bytes(), r.bytes()))]
        need(names and names == sorted(set(names)), "order of attributes")
    elif form == 2:
        index(3)
    else:
        same(form, 0, "form of attributes")
    if e["Type"] == "file":
        e["Size"], e["Hash"] = r.u64(), r.raw(32)
        holes = r.list(lambda: (r.u64(), r.u64()))
        if r.u8() == 0:
            extents = r.list(lambda: (index(1), r.u32(), r.u32()))
            for ref, offset, length in extents:
                need(length > 0 and offset + length <= ref["len"], "extent outside its chunk")
            same(sum(x[2] for x in extents) + sum(x[1] for x in holes), e["Size"], "size of " + repr(e["Path"]))
        else:
            r.list(lambda: index(4))
    elif e["Type"] == "symlink":
        e["Target"] = r.bytes()
    elif e["Type"] in ("char", "block"):
        r.u64()
    return e


def order(path):
    """Catalog order: folder, name by name, then name."""
    parts = path.strip(b"/").split(b"/")
    return parts[:-1], parts[-1]


def read_leaf(plain):
    r = Reader(plain)
    same((r.u8(), r.u8()), (1, 0), "version and level")
    refs = r.list(r.ref)
    used, entries = {}, []

    def group():
        folder = r.bytes()
        got = r.list(lambda: read_entry(r, folder, refs, used))
        need(got, "empty group")
        entries.extend(got)

    r.list(group)
    r.end()
    same(len(used), len(refs), "refs used")
    keys = [order(e["Path"]) for e in entries]
    need(all(a < b for a, b in zip(keys, keys[1:])), "catalog order")
    return entries


def check_page():
    v = load("catalog")
    secret, scope = h(v["Secret"]), h(v["Scope"])
    for name in ("Leaf", "Inner"):
        p = {k: h(x) for k, x in v[name].items()}
        plain, encoded = open_object(scope, 2, p["ID"], p["Key"], len(p["Plain"]), p["Sealed"])
        same(plain, p["Plain"], name)
        same(object_key(secret, scope, 2, encoded), p["Key"], "key of " + name)
    entries = read_leaf(h(v["Leaf"]["Plain"]))
    same(len(entries), len(v["Entries"]), "entries")
    for got, want in zip(entries, v["Entries"]):
        same(got["Path"], h(want["Path"]), "path")
        same(got["Type"], want["Type"], "type")
        same(got.get("Size", 0), want.get("Size", 0), "size")
        same(got.get("Hash", b""), h(want.get("Hash", "")), "hash")
        same(got.get("Target", b""), want.get("Target", "").encode(), "target")
    r = Reader(h(v["Inner"]["Plain"]))
    same((r.u8(), r.u8()), (1, 1), "version and level")
    children = r.list(lambda: (r.bytes(), r.ref(), r.u64(), r.u64()))
    r.end()
    same(sorted(c[1]["id"] for c in children), [h(x) for x in v["Children"]], "children")
    same(sum(c[2] for c in children), 3000, "entries below")
    for c in children[1:]:  # what came before ended there by its hash: the page's last item is the one before
        last = b"/large/file-%04d" % (int(c[0][-4:]) - 1)
        same(mac(h(v["Chunker"]), b"backstay/v1/page-cut\0" + u8(0) + last)[-1], 0, "cut before " + repr(c[0]))
    return f"a leaf page with {len(entries)} entries, an inner page with {len(children)} children"


# Section 6.


def merkle(ids):
    if len(ids) == 0:
        return sha256()
    if len(ids) == 1:
        return sha256(b"\0", ids[0])
    k = 1
    while 2 * k < len(ids):
        k *= 2
    return sha256(b"\1", merkle(ids[:k]), merkle(ids[k:]))


def check_refs():
    v = load("refs")
    full, delta = h(v["Full"]), h(v["Delta"])
    same(sha256(full), h(v["FullID"]), "refs_id")
    same(sha256(delta), h(v["DeltaID"]), "refs_id")
    r = Reader(full)
    same((r.u8(), r.u8()), (1, 1), "version and form")
    base = [r.raw(32) for _ in range(r.u64())]
    r.end()
    r = Reader(delta)
    same((r.u8(), r.u8(), r.raw(32), r.u8()), (1, 2, sha256(full), 1), "head of a delta")
    added = [r.raw(32) for _ in range(r.u64())]
    removed = [r.raw(32) for _ in range(r.u64())]
    r.end()
    need(set(removed) <= set(base) and not set(added) & set(base), "delta and base")
    ids = sorted(set(base) - set(removed) | set(added))
    same(ids, [h(x) for x in v["IDs"]], "ids")
    for n, root in enumerate(v["Roots"]):
        same(merkle(ids[:n]), h(root), f"Merkle root of {n}")
    return f"a full list, a delta, {len(v['Roots'])} Merkle roots"


# Sections 7 and 8.


def read_manifest(b):
    r = Reader(b)
    m = {"magic": r.raw(8), "suite": r.u8()}
    for name in ("Org", "User", "Device", "Set"):
        m[name] = r.raw(16)
    m["Seq"], m["prev"], m["StoreID"], m["nonce"], m["Time"], m["status"] = r.u64(), r.raw(32), r.raw(16), r.raw(32), r.u64(), r.u8()
    m["Entries"], m["Files"], m["Bytes"], m["unreadable"] = r.u64(), r.u64(), r.u64(), r.u64()
    m["RootID"], m["RefsID"], m["RefsRoot"], m["refs_count"] = r.raw(32), r.raw(32), r.raw(32), r.u64()
    m["key_gen"], m["mode"], m["dedup"], m["scope"], m["epoch"] = r.u64(), r.u8(), r.u8(), r.raw(16), r.u64()
    m["chunker"], m["profile"] = r.u8(), r.u8()
    m["header"] = b[: r.at]
    m["sealed"] = r.list(lambda: (r.u8(), r.raw(32), r.bytes(), r.bytes()))
    m["signer"] = r.raw(32)
    m["body"] = b[: r.at]
    m["signature"] = r.raw(64)
    r.end()
    return m


def uuid(text):
    return h(text.replace("-", ""))


def check_manifest():
    v = load("manifest")
    b = h(v["Manifest"])
    m = read_manifest(b)
    same((m["magic"], m["suite"]), (b"BSMANIF1", 1), "magic and suite")
    same(sha256(b), h(v["Hash"]), "hash")
    same(sha256(b)[:8].hex(), v["SnapshotID"], "snapshot id")
    same(sha256(m["header"]), h(v["HeaderHash"]), "hash of the header")
    for name in ("Seq", "Time", "Entries", "Files", "Bytes"):
        same(m[name], v[name], name)
    for name in ("RootID", "RefsID", "RefsRoot"):
        same(m[name], h(v[name]), name)
    for name in ("Org", "User", "Device", "Set", "StoreID"):
        same(m[name], uuid(v[name]), name)
    ids = sorted([sha256(b"chunk"), sha256(b"page")])
    same(m["RefsRoot"], merkle(ids), "Merkle root")
    same(m["RefsID"], sha256(u8(1), u8(1), u64(2), *ids), "refs_id")

    # The chain: organisation, user, device, manifest.
    rec = h(v["OrgRecord"])
    r = Reader(rec)
    same((r.raw(8), r.u8(), r.raw(16), r.u64()), (b"BSORGREC", 1, m["Org"], 1), "org record")
    root, receipt_pub, pk_org = r.raw(32), r.raw(32), r.bytes()
    verify(root, b"org", rec[: r.at], r.raw(64))
    r.end()
    same(root, public_of(expand(h(v["ORK"]), b"backstay/v1/org/root/1", 32)), "root key")
    cert = h(v["UserCert"])
    r = Reader(cert)
    same((r.raw(8), r.u8(), r.raw(16), r.raw(16), r.u64()), (b"BSUSRCRT", 1, m["Org"], m["User"], 1), "user cert")
    identity, pk_u = r.raw(32), r.bytes()
    verify(root, b"user", cert[: r.at], r.raw(64))
    r.end()
    cert = h(v["DeviceCert"])
    r = Reader(cert)
    same((r.raw(8), r.u8(), r.raw(16), r.raw(16), r.raw(16)), (b"BSDEVCRT", 1, m["Org"], m["User"], m["Device"]), "device cert")
    same(r.u64(), 7, "serial")
    dsk = r.raw(32)
    same(r.u8(), 1, "caps")
    r.u64()
    verify(identity, b"device", cert[: r.at], r.raw(64))
    r.end()
    same(m["signer"], sha256(dsk), "signer")
    verify(dsk, b"manifest", m["body"], m["signature"])
    same([(to, key) for to, key, _, _ in m["sealed"]], [(1, sha256(pk_u)), (2, sha256(pk_org))], "recipients")
    for _, _, enc, ct in m["sealed"]:
        same((len(enc), len(ct)), (1120, len(h(v["Private"])) + 16), "lengths of a sealed copy")

    r = Reader(h(v["Private"]))
    same((r.raw(32), r.u32()), (h(v["RootKey"]), 4321), "root")
    same([r.bytes() for _ in range(3)], [v[x].encode() for x in ("Host", "SetName", "Client")], "names")
    same(r.raw(32), sha256(b"policy"), "policy")
    same(r.list(r.bytes), [h(x) for x in v["Roots"]], "roots")
    same(r.list(lambda: [r.bytes().decode(), r.bytes().decode()]), v["Errors"], "errors")
    r.end()

    r = Reader(h(v["Receipt"]))
    same((r.raw(8), r.raw(32), r.u64()), (b"BSRECPT1", sha256(b), m["Seq"]), "receipt")
    r.u64(), r.u64()
    verify(receipt_pub, b"receipt", r.b[: r.at], r.raw(64))
    r.end()
    return "a manifest with its hash, header, refs, signature and private part, three certificates, a receipt"


def check_wrap():
    v = load("wrap")
    kek, aad, wrapped = h(v["KEK"]), h(v["AAD"]), h(v["Wrapped"])
    salt, com, nonce, ct = wrapped[:32], wrapped[32:64], wrapped[64:76], wrapped[76:]
    okm = expand(mac(salt, kek), b"backstay/v1/wrap\0" + aad, 64)
    same(com, okm[32:], "commitment")
    try:
        same(AESGCM(okm[:32]).decrypt(nonce, ct, aad), h(v["X"]), "wrapped secret")
    except InvalidTag:
        raise Mismatch("a wrap does not open") from None
    return "a wrapped key"


# Section 9.


def check_pack():
    v = load("pack")
    b = h(v["Pack"])
    at, end, magic = struct.unpack(">Q32s8s", b[-48:])
    same(magic, b"BSPACKIX", "magic of the tail")
    same(sha256(b[:66], b[at:-48]), end, "hash of head and index")
    r = Reader(b)
    same((r.raw(8), r.u8(), r.u8()), (b"BSPACK01", 1, v["Class"]), "head")
    r.raw(48)
    same(r.u64(), v["Time"], "time")
    records = []
    while r.at < at:
        kind, ident, n = r.u8(), r.raw(32), r.u32()
        same(sha256(r.raw(n)), ident, "id of a record")
        records.append((kind, ident, r.at - n, n))
    same(r.list(lambda: (r.u8(), r.raw(32), r.u64(), r.u32())), records, "index")
    same(records, list(zip(v["Kinds"], map(h, v["IDs"]), v["Offsets"], v["Lengths"])), "records")
    return f"a pack of {len(records)} records"


def main(names):
    for name in names or ("keys", "objects", "page", "refs", "manifest", "wrap", "pack"):
        try:
            print(f"ok   {name}: {globals()['check_' + name]()}")
        except (Mismatch, ValueError, KeyError, IndexError, struct.error, zstandard.ZstdError) as e:
            print(f"FAIL {name}: {type(e).__name__}: {e}")
            return 1
    print("not checked here: HPKE with X-Wing")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
