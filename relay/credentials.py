"""Who we are to a server, and whom we trust there, from files that others renew.

Each is read again at every connect, and checked before it is used: half a file, as while it is being written, is a
reason to try again in a moment. The texts of errors name the file and never repeat what is in it, nor what stands where
the name of a file belongs and may be the secret itself.
"""

import re
import ssl
from pathlib import Path

_JWT = ("-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------")
_SEED = ("-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------")

_TURNED_AWAY = re.compile(
    r"authenticat|authoriz|password|pg_hba|certificate|ssl|tls|permission|maximum|does not exist"
    r"|cannot read|cannot use|creds file|nkey seed|is empty|neither a URL|libpq does not know",
    re.IGNORECASE,
)


class IdentityError(Exception):
    """A file cannot be used as it stands; nothing was sent."""


def is_auth_error(reason: str) -> bool:
    """Report whether a connection failed over who we are, and not because nobody is there: an operator has to act."""
    return bool(_TURNED_AWAY.search(reason)) and "closed unexpectedly" not in reason


def may_be_shown(path: Path) -> bool:
    """Report whether the name of a file can be no secret that was put in its place: its directory is there."""
    try:
        return path.parent not in (Path(), Path("/")) and path.parent.is_dir()
    except OSError:
        return False  # such as a text that is too long for a name


def file_in_words(path: Path) -> str:
    """Return what a file is called in the text of an error."""
    return str(path) if may_be_shown(path) else "the file that it names (not shown, for it may be the secret itself)"


def secret(path: Path) -> str:
    """Read a password or a token; a last line end is no part of it.

    Raises:
        IdentityError: It cannot be read, or is empty.
    """
    text = _read(path).removesuffix("\n").removesuffix("\r")
    if not text:
        raise IdentityError(f"{path} is empty")
    return text


def seed(path: Path) -> str:
    """Read the seed of an nkey.

    Raises:
        IdentityError: It cannot be read, or is no seed.
    """
    text = _read(path).strip()
    _check_seed(text, path)
    return text


def credentials(path: Path) -> str:
    """Read a creds file, the JWT of a user and the seed that belongs to it, with plain line ends.

    Raises:
        IdentityError: It cannot be read, or is not whole.
    """
    lines = [line.strip() for line in _read(path).splitlines()]
    jwt, seed_text = _between(lines, *_JWT), _between(lines, *_SEED)
    if jwt is None or seed_text is None:
        raise IdentityError(f"{path} is no whole creds file: a user JWT and its nkey seed, each between its marks")
    _check_seed(seed_text, path)
    return "\n".join([_JWT[0], jwt, _JWT[1], _SEED[0], seed_text, _SEED[1], ""])


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> "ssl.SSLContext":
    """Make the context of a client: the server proves its name by `ca`, or by the system's own if it is None.

    Raises:
        IdentityError: A file cannot be read, or certificate and key do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise IdentityError(f"cannot use the CA {ca}: {_reason(error)}") from error
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise IdentityError(f"cannot use the certificate {certificate} with {key}: {_reason(error)}") from error
    return context


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise IdentityError(f"cannot read {file_in_words(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise IdentityError(f"{path} is not UTF-8") from error


def _between(lines: list[str], begin: str, end: str) -> str | None:
    """Return the one line between two marks; dashes count for nothing, as in the tools that write them."""
    bare = [line.strip("-") for line in lines]
    first, last = begin.strip("-"), end.strip("-")
    if first not in bare or last not in bare:
        return None
    inside = [line for line in lines[bare.index(first) + 1 : bare.index(last)] if line]
    return inside[0] if len(inside) == 1 else None


def _check_seed(text: str, path: Path) -> None:
    import nkeys  # and its cryptography: only who has a seed pays for it

    try:
        nkeys.from_seed(bytearray(text.encode())).wipe()
    except (nkeys.NkeysError, ValueError, IndexError) as error:
        raise IdentityError(f"{path} holds no nkey seed") from error


def _reason(error: OSError) -> str:
    """Describe what is wrong in words; what OpenSSL says is a code."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is no PEM file").replace("_", " ").lower()
    return error.strerror or type(error).__name__
