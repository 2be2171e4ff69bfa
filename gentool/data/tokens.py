"""Tokenizers: text to token ids and back. They travel in `DataInfo.vocabularies` as plain JSON values. Light.

A tokenizer of pairs has four marks before its own tokens: <pad>, <start>, <end> and <unk>; one of running text has none.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gentool.errors import UsageError
from gentool.show.text import safe_text

if TYPE_CHECKING:
    from gentool.data.batch import DataInfo

MARKS = ("<pad>", "<start>", "<end>", "<unk>")
BYTES = 256
_SHOWN = 8  # unknown characters named in an error


class Tokenizer(ABC):
    """Ids 0 … size-1. `pad`, `start`, `end`, `unk` are ids, or None in a vocabulary without marks."""

    kind: str

    def __init__(self, own: Sequence[str], *, marks: bool) -> None:
        self.marks = MARKS if marks else ()
        self._tokens: tuple[str, ...] = (*self.marks, *own)
        self._ids = {token: i for i, token in enumerate(own, len(self.marks))}
        self.pad: int | None = 0 if marks else None
        self.start: int | None = 1 if marks else None
        self.end: int | None = 2 if marks else None
        self.unk: int | None = 3 if marks else None

    @property
    def size(self) -> int:
        return len(self._tokens)

    def piece(self, index: int) -> str:
        """One token as `pieces` and `join` have it."""
        return self._tokens[index]

    def token(self, index: int) -> str:
        """One token as it is shown (not escaped: see `safe_text`)."""
        return self._tokens[index]

    def letters(self, index: int) -> int:
        """How many characters of the text begin in a token (a byte-pair code may hold the rest of one)."""
        return len(self._tokens[index])

    @abstractmethod
    def pieces(self, text: str) -> list[str]:
        """The text cut as `encode` cuts it, one piece an id, unknown ones as they stand in the text."""

    @abstractmethod
    def join(self, pieces: Iterable[str]) -> str:
        """The text of pieces: ``join(pieces(text))`` is the text, spaces made plain by "words"."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without marks. What is unknown becomes <unk>, or is refused where there is none."""
        pieces = self.pieces(text)
        if self.unk is not None:
            unk = self.unk
            return [self._ids.get(piece, unk) for piece in pieces]
        try:
            return [self._ids[piece] for piece in pieces]
        except KeyError:
            raise self._unknown(text, pieces) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; marks are left out, but <unk> is shown."""
        hidden = {self.pad, self.start, self.end}
        return self.join(self._tokens[i] for i in ids if i not in hidden)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes it of again."""

    def _unknown(self, text: str, pieces: Sequence[str]) -> UsageError:
        unknown = {piece: None for piece in pieces if piece not in self._ids}
        first = next(iter(unknown))
        place = text.find(first)
        line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
        shown = ", ".join(f"'{safe_text(piece)[:20]}'" for piece in list(unknown)[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        where = f"character {column}" if line == 1 else f"line {line}, character {column}"
        return UsageError(
            f"The vocabulary of {self.size} characters lacks {shown}{more} (the first at {where}); leave them out, or use "
            "a model trained with data.tokens=bpe, which reads any text."
        )


class Characters(Tokenizer):
    """One token a character."""

    kind = "characters"

    def __init__(self, characters: str, *, marks: bool = False) -> None:
        super().__init__(list(characters), marks=marks)
        self.characters = characters

    @classmethod
    def learn(cls, texts: Iterable[str], *, marks: bool = False) -> Characters:
        """The characters that occur, in the order of their code points."""
        return cls("".join(sorted(set().union(*map(set, texts)))), marks=marks)

    def pieces(self, text: str) -> list[str]:
        return list(text)

    def join(self, pieces: Iterable[str]) -> str:
        return "".join(pieces)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters, "marks": bool(self.marks)}


_JOINER = "￭"
# A word; one with an apostrophe that elides (l'homme, qu'il: cut after it); an ending with one (it's, don't: cut before
# it); any other sign alone.
_ENDING = r"['’](?:s|t|m|d|re|ve|ll)\b"
_PIECE = re.compile(rf"{_ENDING}|\w+(?={_ENDING})|\w+['’](?=\w)|\w+|[^\w\s]", re.IGNORECASE)


class Words(Tokenizer):
    """Words and signs. Where two stood without a space between them, one bears the joiner "￭" at that side: a sign or an
    ending rather than a word, so that a word is the same token with and without a comma after it."""

    kind = "words"

    def __init__(self, words: Sequence[str], *, lower: bool = False, marks: bool = True) -> None:
        super().__init__(words, marks=marks)
        self.words = tuple(words)
        self.lower = lower

    @classmethod
    def learn(
        cls, texts: Iterable[str], *, most: int = 0, min_frequency: int = 1, lower: bool = False, marks: bool = True
    ) -> Words:
        """The `most` frequent (0: all) of the words that occur at least `min_frequency` times, equal ones by alphabet."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_cut(text.lower() if lower else text))
        ranked = sorted((w for w, c in counts.items() if c >= min_frequency), key=lambda w: (-counts[w], w))
        return cls(ranked[: most or None], lower=lower, marks=marks)

    def pieces(self, text: str) -> list[str]:
        return _cut(text.lower() if self.lower else text)

    def join(self, pieces: Iterable[str]) -> str:
        spaced: list[str] = []
        glued = True
        for piece in pieces:
            bare = piece.strip(_JOINER) if piece != _JOINER else piece
            if not glued and not (piece.startswith(_JOINER) and bare != piece):
                spaced.append(" ")
            spaced.append(bare)
            glued = piece.endswith(_JOINER) and bare != piece
        return "".join(spaced)

    def token(self, index: int) -> str:
        """The word without its joiners."""
        token = super().token(index)
        return token.strip(_JOINER) or token

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": list(self.words), "lower": self.lower, "marks": bool(self.marks)}


def _cut(text: str) -> list[str]:
    pieces: list[str] = []
    end = -1
    for match in _PIECE.finditer(text):
        piece = match.group()
        if match.start() == end:
            if piece[0].isalnum() or piece[0] == "_":
                pieces[-1] += _JOINER  # a sign or an elision is before it: two words never touch
            else:
                piece = _JOINER + piece
        pieces.append(piece)
        end = match.end()
    return pieces


class Bpe(Tokenizer):
    """Byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019): reads any text, and gives it back.

    Its own tokens are the 256 bytes and what each merge makes, in this order. Encoding uses the `tokenizers` library.
    """

    kind = "bpe"

    def __init__(self, merges: Sequence[tuple[str, str]], *, marks: bool = False) -> None:
        self.merges = list(merges)
        own = dict.fromkeys((*_byte_letters(), *(a + b for a, b in self.merges)))
        super().__init__(list(own), marks=marks)
        self._engine: Any = None

    @classmethod
    def learn(cls, texts: Iterable[str], size: int, *, marks: bool = False) -> Bpe:
        """Merges until there are `size` tokens beside the marks, or no pair occurs twice."""
        import json

        from tokenizers import Tokenizer as Engine
        from tokenizers import models, pre_tokenizers, trainers

        engine = Engine(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, BYTES), min_frequency=2, initial_alphabet=_byte_letters(), show_progress=False
        )
        engine.train_from_iterator(texts, trainer)
        return cls([(a, b) for a, b in json.loads(engine.to_str())["model"]["merges"]], marks=marks)

    def _run(self, text: str) -> Any:
        if self._engine is None:
            from tokenizers import Tokenizer as Engine
            from tokenizers import models, pre_tokenizers

            ids = {token: i - len(self.marks) for token, i in self._ids.items()}
            self._engine = Engine(models.BPE(ids, self.merges))
            self._engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return self._engine.encode(text, add_special_tokens=False)

    def encode(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"The text has a lone surrogate at character {error.start + 1}; leave it out.") from None
        shift = len(self.marks)
        return [i + shift for i in self._run(text).ids]

    def pieces(self, text: str) -> list[str]:
        return list(self._run(text).tokens)

    def join(self, pieces: Iterable[str]) -> str:
        """Bytes that are no UTF-8 (a sampled text may end within a character) become U+FFFD."""
        return b"".join(map(self._bytes, pieces)).decode("utf-8", "replace")

    def _bytes(self, piece: str) -> bytes:
        back = _letter_bytes()
        return piece.encode() if piece in self.marks else bytes([back[letter] for letter in piece])

    def token(self, index: int) -> str:
        return self.join([super().token(index)])

    def letters(self, index: int) -> int:
        return sum(byte & 0xC0 != 0x80 for byte in self._bytes(self._tokens[index]))

    def to_json(self) -> dict[str, Any]:
        # A letter is never a space or a newline, so one text holds them all: half the length of nested lists.
        merges = "\n".join(f"{a} {b}" for a, b in self.merges)
        return {"kind": self.kind, "merges": merges, "marks": bool(self.marks)}


@functools.cache
def _letter_bytes() -> dict[str, int]:
    """The printable letter that stands for each byte, as byte-level BPE has them: itself where it can be seen, else
    one from U+0100 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(b): b for b in seen}
    letters.update({chr(0x100 + i): b for i, b in enumerate(sorted(set(range(BYTES)) - set(seen)))})
    return letters


def _byte_letters() -> list[str]:
    return sorted(_letter_bytes())


def from_json(data: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described; `UsageError` where the description is none."""
    try:
        marks = bool(data["marks"])
        made: Tokenizer
        if data["kind"] == "characters":
            made = Characters(str(data["characters"]), marks=marks)
        elif data["kind"] == "words":
            made = Words([str(word) for word in data["words"]], lower=bool(data["lower"]), marks=marks)
        elif data["kind"] == "bpe":
            pairs = [line.split(" ") for line in str(data["merges"]).split("\n") if line]
            made = Bpe([(a, b) for a, b in pairs], marks=marks)
        else:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UsageError("The vocabulary in this checkpoint is damaged; use another checkpoint.") from None
    return made


def tokenizer(info: DataInfo, role: str = "text") -> Tokenizer:
    """The tokenizer of a role ("text", "source" or "target") from the description of the data."""
    if role not in info.vocabularies:
        there = ", ".join(info.vocabularies) or "none"
        raise UsageError(f"The data '{safe_text(info.name)}' have no vocabulary '{role}' (there is: {there}).")
    return from_json(info.vocabularies[role])


def learn(
    kind: str,
    texts: Callable[[], Iterable[str]],
    *,
    size: int = 0,
    min_frequency: int = 1,
    lower: bool = False,
    marks: bool,
) -> Tokenizer:
    """A tokenizer of a kind from texts (called for as often as needed)."""
    if kind == "characters":
        return Characters.learn(texts(), marks=marks)
    if kind == "words":
        return Words.learn(texts(), most=size, min_frequency=min_frequency, lower=lower, marks=marks)
    return Bpe.learn(texts(), size, marks=marks)
