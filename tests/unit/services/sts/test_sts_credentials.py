"""Temporary credentials: what is issued is recognised, and nothing else."""

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from lambent.services.sts import credentials
from lambent.services.sts.credentials import Identity

KEY = b"k" * 32
ACCOUNTS = st.from_regex(r"[0-9]{12}", fullmatch=True)
SESSION = Identity(
    "123456789012", "arn:aws:sts::123456789012:assumed-role/worker/hello", "AROAXYZ:hello", 1_790_003_600
)


@given(ACCOUNTS, st.text(max_size=30), st.text(max_size=30), st.integers(0, 2**40))
def test_what_was_issued_is_recognised(account: str, principal: str, user_id: str, expires_at: int) -> None:
    identity = Identity(account, principal, user_id, expires_at)
    issued = credentials.issue(identity, KEY)
    assert credentials.identity(issued.access_key_id, issued.session_token, KEY) == identity
    assert credentials.account_of(issued.access_key_id) == account


def test_keys_look_like_aws_ones() -> None:
    issued = credentials.issue(SESSION, KEY)
    assert re.fullmatch("ASIA[A-Z2-7]{16}", issued.access_key_id)
    assert re.fullmatch("[A-Za-z0-9+/]{40}", issued.secret_access_key)
    assert credentials.issue(SESSION, KEY).access_key_id != issued.access_key_id
    assert credentials.secret_key(issued.access_key_id, KEY) == issued.secret_access_key


def test_secrets_do_not_print() -> None:
    issued = credentials.issue(SESSION, KEY)
    assert str(issued.secret_access_key) not in repr(issued)
    assert str(issued.session_token) not in repr(issued)


@given(st.data())
def test_a_changed_token_is_nobodys(data: st.DataObject) -> None:
    issued = credentials.issue(SESSION, KEY)
    raw = bytearray(base64.b64decode(issued.session_token))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert credentials.identity(issued.access_key_id, base64.b64encode(raw).decode(), KEY) is None


@given(st.text(max_size=200))
def test_any_other_token_is_nobodys(token: str) -> None:
    assert credentials.identity("ASIAXXXXXXXXXXXXXXXX", token, KEY) is None


def test_a_token_belongs_to_its_access_key_and_installation() -> None:
    one, other = credentials.issue(SESSION, KEY), credentials.issue(SESSION, KEY)
    assert credentials.identity(one.access_key_id, other.session_token, KEY) is None
    assert credentials.identity(one.access_key_id, one.session_token, b"another") is None
    assert credentials.identity(one.access_key_id, None, KEY) is None
    assert credentials.identity(one.access_key_id, one.session_token + "A" * 5000, KEY) is None


@given(st.text(max_size=24) | st.from_regex("[AI]KIA[A-Z2-7]{16}", fullmatch=True))
def test_any_access_key_has_an_account_or_none(access_key: str) -> None:
    account = credentials.account_of(access_key)
    assert account is None or re.fullmatch("[0-9]{12}", account)
