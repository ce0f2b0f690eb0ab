from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.package_memory import PackageMemory


def loaded(path):
    memory = PackageMemory(path)
    memory.load()
    return memory


def test_what_was_kept_last_counts(tmp_path):
    memory = PackageMemory(tmp_path / "file")
    memory.keep("a", ["numpy"], {})
    memory.keep("a", ["pandas"], {"numpy": "it has threads"})
    assert loaded(tmp_path / "file").get("a") == (["pandas"], {"numpy": "it has threads"})
    assert memory.get("b") is None


def test_what_was_forgotten_is_learnt_again(tmp_path):
    memory = PackageMemory(tmp_path / "file")
    memory.keep("a", ["numpy"], {})
    memory.forget("a")
    assert memory.get("a") is None
    assert loaded(tmp_path / "file").get("a") is None


@given(cut=st.integers(0, 60))
def test_half_a_line_spoils_no_other(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("memory") / "file"
    PackageMemory(path).keep("a", ["numpy"], {})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])
    loaded(path).keep("b", ["pandas"], {})
    memory = loaded(path)
    assert (memory.get("a"), memory.get("b")) == ((["numpy"], {}), (["pandas"], {}))


def test_it_does_not_grow_without_end(tmp_path):
    memory = PackageMemory(tmp_path / "file")
    for number in range(9000):
        memory.keep(str(number), ["numpy"], {})
    assert loaded(tmp_path / "file").get("8999")
    assert loaded(tmp_path / "file").get("0") is None
    assert (tmp_path / "file").read_bytes().count(b"\n") == 4096


def test_without_a_file_it_lasts_as_long_as_the_node():
    memory = PackageMemory()
    memory.load()
    memory.keep("a", ["numpy"], {})
    assert memory.get("a") == (["numpy"], {})
