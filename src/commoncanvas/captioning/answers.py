"""Recognise model answers that are not captions: refusals, and answers that wrap a caption or contain none. Pure.

Only the beginning of an answer is checked, because text in a picture, which a caption may quote, can say anything.
"""

from __future__ import annotations

import re

_IMAGE = r"(?:image|picture|photo|photograph|file)s?"

REFUSALS: dict[str, tuple[str, ...]] = {
    "English": (
        r"(?:i(?:'m| am) )?(?:very |so |really )?sorry\b.{0,40}\b(?:i|no|not|can't|cannot|unable)\b",
        r"(?:my apologies|i apologi[sz]e)\b",
        r"(?:unfortunately,? )?i(?:'m| am)? (?:can't|can ?not|could not|couldn't|won't|will not)\b",
        r"(?:unfortunately,? )?i(?:'m| am)? (?:unable|not able|not allowed|not permitted|not comfortable)\b",
        r"i (?:don't|do not) feel comfortable|i (?:must|have to) decline",
        r"(?:as|i(?:'m| am)) an? (?:ai|(?:large )?language model|virtual assistant|text[- ]based)\b",
        rf"(?:it (?:looks|seems|appears)(?: like| that)?,? )?(?:there(?: is|'s) )?no {_IMAGE}\b.{{0,30}}\b"
        r"(?:provided|attached|uploaded|included|shared)",
        rf"(?:it (?:looks|seems|appears)(?: like| that)?,? )?you (?:haven't|have not|didn't)\b.{{0,20}}\b{_IMAGE}",
        rf"(?:please|could you) (?:provide|upload|share|attach|send)\b.{{0,30}}\b{_IMAGE}",
    ),
    "German": (
        r"(?:es )?tut mir (?:sehr )?leid\b|(?:entschuldigung|leider),? .{0,20}\b(?:ich|kann)\b",
        r"ich (?:kann|darf|bin)\b.{0,60}\b(?:nicht|keine?n?)\b",
        r"als (?:ki|eine? (?:ki|künstliche|sprachmodell))\b",
    ),
    "French": (
        r"(?:je suis )?désolée?,|(?:malheureusement|je regrette),? .{0,20}\bje\b",
        r"je ne (?:peux|puis|suis)\b.{0,40}\b(?:pas|aider|décrire|fournir)\b",
        r"en tant qu(?:e |')(?:ia|intelligence artificielle|modèle|assistant)",
    ),
    "Spanish": (
        r"lo siento\b|lamentablemente,? no\b",
        r"no puedo (?:ayudar|describir|proporcionar|identificar|ver|cumplir|responder)",
        r"como (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente)\b",
    ),
    "Portuguese": (
        r"(?:desculpe|sinto muito|lamento)\b.{0,20}\bnão\b|(?:infelizmente,? )?não posso\b",
        r"como (?:uma? )?(?:inteligência artificial|modelo de linguagem|assistente)\b",
    ),
    "Italian": (
        r"mi dispiace\b",
        r"(?:purtroppo,? )?non posso (?:aiutar|descriver|fornir|identificar|rispondere)",
        r"in quanto (?:ia|intelligenza|modello)\b",
    ),
    "Dutch": (
        r"(?:het spijt me|sorry|helaas),? .{0,20}\bik\b|ik kan .{0,40}\bniet\b",
        r"als (?:een )?(?:ai|taalmodel)\b",
    ),
    "Polish": (
        r"przepraszam,? .{0,20}\bnie\b|nie mogę\b|jako (?:model językowy|sztuczna inteligencja|ai)\b",
    ),
    "Turkish": (r"üzgünüm\b|maalesef\b|bir yapay zek[aâ]",),
    "Russian": (
        r"(?:извините|простите|к сожалению)\b.{0,20}\b(?:я|не)\b|я не могу\b|как (?:ии|языковая модель)\b",
    ),
    "Chinese": (
        r"(?:很|非常)?(?:抱歉|对不起|對不起)|我(?:无法|無法|不能)",
        r"作为(?:一个)?(?:ai|人工智能|语言模型)|作為(?:一個)?(?:ai|人工智慧|語言模型)",
    ),
    "Japanese": (
        r"申し訳(?:ありません|ございません)|すみませんが|お手伝い(?:できません|することはできません)",
    ),
    "Korean": (r"죄송(?:합니다|하지만)|(?:저는 )?ai(?: 언어 모델)?로서",),
    "Arabic": (r"عذرا|عذرًا|آسف|أعتذر|لا أستطيع|لا يمكنني",),
    "Hindi": (r"क्षमा करें|माफ़ कीजिए|मुझे खेद है",),
}
"""Language -> patterns for the beginning of a refusal, or of a statement by the model about itself."""

WRAPPINGS = (
    r"[{\[]\s*[\"'{\[].*[}\]]\s*$",  # JSON and lists
    r"```|</?(?:think|thinking|reasoning|answer|caption|output|response)>|<\|",
    r"(?:sure|certainly|of course|absolutely|okay|ok|great)\b[,.!: ]+(?:here|i|the|this|let|below)\b",
    r"here(?: is|'s| are) (?:a|an|the|your|my|one|some)\b.{0,40}\b(?:caption|description|sentence|summary|answer)s?\b",
    r"(?:caption|description|answer|output|response|assistant|final answer)\s*:",
    r"(?:let me|i(?:'ll| will| need to| should)) (?:look|think|describe|analy[sz]e|start|write)\b",
    r"(?:the )?user (?:wants|asks|asked|is asking)\b",
)
"""Patterns for the beginning of an answer that wraps a caption or contains none."""

_REFUSAL = re.compile("|".join(pattern for patterns in REFUSALS.values() for pattern in patterns), re.I)
_WRAPPING = re.compile("|".join(WRAPPINGS), re.I | re.S)
_THOUGHTS = re.compile(r"</?(?:think|thinking|reasoning)>", re.I)


def refusal(answer: str) -> bool:
    """Whether the model refuses to describe the image, or speaks about itself, in a language of REFUSALS."""
    return bool(_REFUSAL.match(_plain(answer)))


def not_a_caption(answer: str) -> bool:
    """Whether the answer is JSON, code or a model's thoughts, or begins with words to the user."""
    return bool(_WRAPPING.match(_plain(answer)) or _THOUGHTS.search(answer))


def _plain(answer: str) -> str:
    """`answer` with plain apostrophes, and without quotation marks, asterisks and spaces at the beginning."""
    return answer.replace("\u2019", "'").lstrip(" \t\n\"“”„«'*_")
