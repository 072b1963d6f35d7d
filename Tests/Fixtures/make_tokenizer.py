#!/usr/bin/env python3
"""Makes Tests/Fixtures/tokenizer: CLIP's tokenizer trained on a few sentences, and its numbers for texts of many kinds.

Needs tokenizers and transformers (made with 0.23.3 and 5.24.0). With a folder as argument it prints, as JSON, the numbers of the
same texts by the tokenizer in that folder instead, as transformers reads it.
"""
import json, sys
from pathlib import Path
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

FOLDER = Path(__file__).resolve().parent / "tokenizer"
CORPUS = [
    "a small red circle above a large blue square", "a large blue square below a small red circle",
    "at the top left, a green triangle", "a yellow cross on the right", "grinning face with smiling eyes",
    "flag: Côte d’Ivoire", "the cat's whiskers aren't red; they're white, I'm sure we'll see",
    "ein größerer roter Kreis über dem blauen Quadrat", "red circle, blue circle, green circle", "1st place medal 2023",
    "一个红色的圆", "دائرة حمراء صغيرة", "😀 grinning face 😀😀 👍🏽 thumbs up",
]
TEXTS = CORPUS + [
    "", " ", "A", "Red Circle", "  white \t space\n\nbetween ", "it's 'sun' d'accord 're''s x'll", "don't!'s ...'d",
    "3.14159 × 10⁻³ = ½", "ΟΔΥΣΣΕΥΣ ς", "İstanbul ẞ ﬁ", "e\u0301 é", "क्षत्रिय", "한국어 漢字かな", "👨‍👩‍👧‍👦🏳️‍🌈",
    "\u200b\u00a0\u3000x\ufeff", "C++ & <html> &amp; \\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\x00\x07\x1b[31mred",
    "unseen words like xylophone", "№ ª º ² Ⅷ ٣ ௩", "_under_score-and-hyphen", "🇦🇨 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
]
PATTERN = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def numbers(folder):
    tokenizer = CLIPTokenizer(
        vocab=str(Path(folder) / "vocab.json"), merges=str(Path(folder) / "merges.txt"))
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]


def train():
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(PATTERN, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    # CLIP's order: single bytes, bytes at a word's end, merges, special tokens.
    singles = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = singles + [single + "</w>" for single in singles] + [merge.replace(" ", "") for merge in merges]
    vocabulary = {token: number for number, token in enumerate(tokens + ["<|startoftext|>", "<|endoftext|>"])}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n")
    (FOLDER / "merges.txt").write_text("#version: 0.2\n" + "".join(merge + "\n" for merge in merges))


if len(sys.argv) > 1:
    print(json.dumps(numbers(sys.argv[1])))
else:
    train()
    (FOLDER / "numbers.json").write_text(
        json.dumps({"texts": TEXTS, "corpus": len(CORPUS), "numbers": numbers(FOLDER)}, ensure_ascii=False, indent=0) + "\n")
