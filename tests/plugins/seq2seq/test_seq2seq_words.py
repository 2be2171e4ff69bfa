"""From sentences to ids and back: prompts, unknown words, samplers, the evaluator and the view, on made-up vocabularies."""

from __future__ import annotations

import types

import pytest
import torch
from gentool_seq2seq import AttentionConfig, TranslationConfig
from gentool_seq2seq.evaluate import Translated, Translation
from gentool_seq2seq.sampler import beam, greedy, multinomial, sentences_of
from gentool_seq2seq.search import Hypothesis, Search, search
from gentool_seq2seq.views import AttentionMap
from gentool_seq2seq.words import encoded, grouped, plain, written
from seq2seq_nets import net, padded

from gentool import Batch, Partial, Samples, Step, UsageError
from gentool.data.tokens import Bpe, Characters, Words

STEP = Step(seed=0)


def last(events) -> list[str]:
    *_, samples = events
    assert isinstance(samples, Samples)
    return samples.text


# -- sentences -------------------------------------------------------------------------------------------------------


def test_sources_end_and_are_filled():
    model = net()
    source, length = encoded(model, ["a0  a1", "a2 a3 a4", "what"])
    assert source.tolist() == [[4, 5, 2, 0], [6, 7, 8, 2], [3, 2, 0, 0]]
    assert length.tolist() == [3, 4, 2]
    with pytest.raises(UsageError, match="2,001 tokens"):
        encoded(model, ["a0 " * 2000])


def test_small_letters_where_the_data_have_them():
    model = net()
    assert plain(model, " A0\ta1 ") == "A0 a1"
    model.info.extra["lower"] = True
    assert plain(model, " A0\ta1 ") == "a0 a1"


def test_an_unknown_word_is_the_one_that_was_looked_at():
    model = net()
    looked = torch.tensor([[0.9, 0.05, 0.05, 0.0], [0.0, 0.1, 0.2, 0.7], [0, 0, 0, 1.0]])
    found = Hypothesis([5, 3], -1.0, -1.0, looked)
    assert written(model, "a0 zebra a1", found, replace=True) == "b1 a1"  # <end>'s 0.7 is no word
    looked[1] = torch.tensor([0.1, 0.8, 0.1, 0.0])
    assert written(model, "a0 zebra a1", found, replace=True) == "b1 zebra"
    assert written(model, "a0 zebra a1", found, replace=False) == "b1 <unk>"
    assert written(model, "a0 zebra a1", Hypothesis([5, 3], -1.0, -1.0), replace=True) == "b1 <unk>"


def test_tokens_are_grouped_to_words():
    bpe = Bpe.learn(["the dog runs, the dogs run"] * 50, 300, marks=True)
    ids = [*bpe.encode("the dogs runs"), bpe.end]
    words = grouped(bpe, ids)
    assert [word for word, _ in words] == ["the", "dogs", "runs", "<end>"]
    assert [place for _, places in words for place in places] == list(range(len(ids)))
    letters = Characters.learn(["ab cd"], marks=True)
    ids = [*letters.encode("ab cd"), letters.end]
    assert [word for word, _ in grouped(letters, ids)] == ["ab", "cd", "<end>"]
    plain_words = Words(["a", "b"])
    assert grouped(plain_words, [4, 5, 2]) == [("a", [0]), ("b", [1]), ("<end>", [2])]


# -- samplers --------------------------------------------------------------------------------------------------------


def test_beam_gives_the_n_best_of_each_line():
    model = net(seed=3, scale=2.0)
    texts = last(beam(model, 3, step=STEP, prompt="a0 a1\n\n a2 ", width=2))
    found = search(model, *encoded(model, ["a0 a1", "a2"]), Search(beam=2, best=3), step=STEP)
    expected = [written(model, source, one, replace=True) for source, f in zip(["a0 a1", "a2"], found) for one in f]
    assert texts == expected
    assert len(set(texts[:3])) == 3
    with pytest.raises(UsageError, match="batch-size"):
        last(beam(model, 3, step=Step(seed=0, total=2), prompt="a0"))


def test_without_a_prompt_the_carried_sentences_are_translated():
    model = net(seed=3, scale=2.0)
    for sampler in (beam, greedy, multinomial):
        texts = last(sampler(model, 3, step=STEP, max_length=4))
        assert [text.split("\t")[0] for text in texts] == ["a0 a1", "a2", "a0 a1"]
    prompted = last(greedy(model, 1, step=STEP, prompt="a0 a1", max_length=4))
    assert last(greedy(model, 1, step=STEP, max_length=4)) == [f"a0 a1\t{prompted[0]}"]
    model.info.extra["examples"] = []
    with pytest.raises(UsageError, match="--prompt"):
        last(beam(model, 3, step=STEP))


def test_greedy_and_draws_are_told_as_they_grow():
    model = net(seed=5, scale=2.0)
    for sampler in (greedy, multinomial):
        *partials, samples = sampler(model, 1, step=STEP, prompt="a0 a1 a2", max_length=6, replace_unknown=False)
        assert isinstance(samples, Samples)
        so_far = ""
        for partial in partials:
            assert isinstance(partial, Partial)
            assert 0 < partial.done <= partial.total
            assert partial.text[0].startswith(so_far)
            so_far = partial.text[0]
        assert samples.text[0].startswith(so_far)
    assert all(p.text is None for p in list(beam(model, 1, step=STEP, prompt="a0"))[:-1])
    with pytest.raises(UsageError, match="one translation"):
        last(greedy(model, 2, step=STEP, prompt="a0"))


def test_draws_are_the_seeds_own():
    model = net(seed=5)
    one, two = (last(multinomial(model, 4, step=STEP, prompt="a0 a1")) for _ in range(2))
    assert one == two
    assert len(set(one)) > 1
    assert one != last(multinomial(model, 4, step=Step(seed=1), prompt="a0 a1"))


def test_prompts_are_bounded():
    with pytest.raises(UsageError, match="10,001"):
        sentences_of(net(), "a0\n" * 10_001)


# -- the evaluator ---------------------------------------------------------------------------------------------------


def context(model, pairs=(), split="test"):
    return types.SimpleNamespace(
        model=model, step=STEP, dataset="made up", split=split, device="cpu",
        examples=lambda: types.SimpleNamespace(pairs=list(pairs)),
    )  # fmt: skip


SENTENCES = [
    ("one", "le chat est là ce soir", "le chat est là ce soir"),
    ("one two", "un chien noir court très vite", "un chien court vite"),
    ("one two", "je ne sais pas où il est", "je ne sais où il est allé"),
    ("one two three", "merci beaucoup mon ami", "merci mon ami"),
    ("one two three four", "rien ne va plus ici", "tout va bien"),
]


def made(config=None) -> Translation:
    evaluator = Translation(config or TranslationConfig(groups=2), context(net()))
    evaluator.translated = [Translated(i, *row) for i, row in enumerate(SENTENCES)]
    return evaluator


def test_figures_are_those_of_sacrebleu():
    import sacrebleu

    report = made().compute()
    hypotheses, references = [h for _, _, h in SENTENCES], [r for _, r, _ in SENTENCES]
    figures = {s.name: s.value for s in report.scalars}
    assert figures["BLEU"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references]).score, abs=0.006)
    assert figures["chrF"] == pytest.approx(sacrebleu.corpus_chrf(hypotheses, [references]).score, abs=0.006)
    assert figures["exact matches"] == 20
    metric = sacrebleu.metrics.BLEU()
    metric.corpus_score(hypotheses, [references])
    assert report.extra["bleu_signature"] == str(metric.get_signature())
    assert str(metric.get_signature()) in report.protocol
    assert "N=5" in report.protocol
    assert report.extra["hypotheses"] == hypotheses


def test_a_length_is_in_one_group_alone():
    report = made().compute()
    assert [(row["source words"], row["sentences"]) for row in report.table] == [("1", 1), ("2-4", 4)]
    assert sum(row["sentences"] for row in made(TranslationConfig(groups=20)).compute().table) == 5
    assert [row["source words"] for row in made(TranslationConfig(groups=1)).compute().table] == ["1-4"]


def test_case_counts_unless_told_otherwise():
    upper = made()
    upper.translated = [Translated(0, "a", "un chien noir court", "UN CHIEN NOIR COURT")]
    assert upper.compute().scalars[0].value < 1
    lower = made(TranslationConfig(lowercase=True))
    lower.translated = list(upper.translated)
    report = lower.compute()
    assert report.scalars[0].value == pytest.approx(100)
    assert "case:lc" in report.protocol


def test_batches_are_translated_in_any_order_and_halves_join():
    model = net(seed=3, scale=2.0)
    pairs = [("a0 a1", "b0"), ("a2", "b1 b2"), ("zebra", "b3")]
    source, length = encoded(model, [a for a, _ in pairs])
    whole, halves = Translation(TranslationConfig(width=2), context(model, pairs)), []
    whole.update(Batch(index=torch.arange(3), extra={"source": source, "source_length": length}))
    for rows in ([2], [1, 0]):
        half = Translation(TranslationConfig(width=2), context(model, pairs))
        index = torch.tensor(rows)
        half.update(Batch(index=index, extra={"source": source[index], "source_length": length[index]}))
        halves.append(half)
    halves[0].merge(halves[1])
    assert halves[0].compute().to_json() == whole.compute().to_json()
    assert [t.source for t in whole.translated] == ["a0 a1", "a2", "zebra"]
    for t, translated in zip(whole.texts(), whole.translated, strict=True):
        assert t == last(beam(model, 1, step=STEP, prompt=translated.source, width=2))[0]


def test_nothing_to_score():
    with pytest.raises(UsageError, match="empty"):
        Translation(TranslationConfig(), context(net())).compute()
    with pytest.raises(UsageError, match="pairs"):
        Translation(TranslationConfig(), context(net())).update(Batch(images=torch.zeros(1, 1, 2, 2)))


# -- the view --------------------------------------------------------------------------------------------------------


def test_the_map_is_the_attention_of_the_translation():
    model = net(seed=8, scale=2.0)
    report = AttentionMap(AttentionConfig(prompt="a0 zebra\na1"), context(model)).compute()
    assert [heat.columns for heat in report.heatmaps] == [["a0", "zebra", "<end>"], ["a1", "<end>"]]
    source, length = padded([[4, 3, 2], [5, 2]])
    found = search(model, source, length, Search(beam=5), step=STEP)
    for heat, (one, *_), n in zip(report.heatmaps, found, (3, 2), strict=True):
        torch.testing.assert_close(torch.tensor(heat.values).double(), one.attention[:, :n])
        assert all(sum(row) == pytest.approx(1) for row in heat.values)
        assert len(heat.rows) == len(heat.values)
    assert report.table[0]["translation"] == report.heatmaps[0].rows[0]


def test_maps_of_byte_pairs_are_of_words():
    from gentool_seq2seq import Seq2SeqConfig
    from gentool_seq2seq.model import Seq2Seq

    from gentool import DataInfo

    texts = ["the dog runs", "the dogs run"] * 20
    bpe = Bpe.learn(texts, 262, marks=True).to_json()
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(embed=6, hidden=5), DataInfo(vocabularies={"source": bpe, "target": bpe})).eval()
    heat = AttentionMap(AttentionConfig(prompt="the dogs run"), context(model)).compute().heatmaps[0]
    assert heat.columns == ["the", "dogs", "run", "<end>"]
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in heat.values)
    single = AttentionMap(AttentionConfig(prompt="the dogs run", pieces=True), context(model)).compute().heatmaps[0]
    assert len(single.columns) == len(model.source.encode("the dogs run")) + 1


def test_the_models_own_sentences_come_with_their_maps():
    model = net(seed=8, scale=2.0)
    for sampler in (beam, greedy, multinomial):
        own = list(sampler(model, 3, step=STEP))[-1]
        assert [text.split("\t")[0] for text in own.text] == ["a0 a1", "a2", "a0 a1"]
        first, second = ["a0", "a1", "<end>"], ["a2", "<end>"]
        assert [heat.columns for heat in own.heatmaps["attention"]] == [first, second, first]
        assert own.heatmaps["attention"][1].title == " → ".join(own.text[1].split("\t"))
        assert not list(sampler(model, 1, step=STEP, prompt="a0"))[-1].heatmaps
    (given,) = AttentionMap(AttentionConfig(prompt="a2"), context(model)).compute().heatmaps
    seen = list(beam(model, 2, step=STEP))[-1].heatmaps["attention"][1]
    assert (seen.rows, seen.values) == (given.rows, given.values)
    assert not list(beam(net(attention="none"), 2, step=STEP))[-1].heatmaps


def test_a_map_of_spaces_alone_has_no_rows():
    from gentool_seq2seq import Seq2SeqConfig
    from gentool_seq2seq.model import Seq2Seq
    from gentool_seq2seq.search import Hypothesis
    from gentool_seq2seq.words import heat_map

    from gentool import DataInfo

    bpe = Bpe.learn(["a b"] * 20, 262, marks=True).to_json()
    model = Seq2Seq(Seq2SeqConfig(embed=6, hidden=5), DataInfo(vocabularies={"source": bpe, "target": bpe}))
    source = [*model.source.encode("a"), model.source.end]
    space = next(i for i in range(262) if model.target.token(i) == " ")
    found = Hypothesis([space], 0.0, 0.0, torch.ones(1, len(source)) / len(source), ended=False)
    made = heat_map(model, "a", found, source)
    assert (made.rows, made.values, made.columns) == ([], [], ["a", "<end>"])


def test_no_attention_no_map():
    with pytest.raises(UsageError, match="without attention"):
        AttentionMap(AttentionConfig(prompt="a0"), context(net(attention="none"))).compute()
