"""What is wrong with annotations, counted by kind. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from gentool.show.text import safe_text

FIRST = 5  # offenders that are named
SAID = 4  # kinds in the one line of a training


@dataclass
class Problems:
    """By kind how often, what was done about it, and who the first were."""

    counts: dict[str, int] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, who: object, done: str = "left out") -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.done[kind] = done
        named = self.first.setdefault(kind, [])
        if len(named) < FIRST:
            named.append(safe_text(str(who)[:500])[:120])

    def sentence(self) -> str:
        """In one line how many of what, the most frequent first."""
        most = sorted(self.counts.items(), key=lambda pair: -pair[1])
        told = "; ".join(f"{kind}: {count:,} {self.done[kind]}" for kind, count in most[:SAID])
        return told + (f"; and {len(most) - SAID} more kinds" if len(most) > SAID else "")
