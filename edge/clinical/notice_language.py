"""Whether a visit is in English: by script and by function words, turn by turn, so that an interpreter is noticed too.

Function words are the most frequent and the most stable words of a language; a turn of a few words already holds some.
Words that English has too ("no", "me", "die", "was", the OS of an eye note) count for no other language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from edge.clinical.transcript import Span, Transcript

WHOLLY = 0.6  # share of the words from which a visit is said to be in another language
PARTLY = 0.04
PARTLY_WORDS = 8
UNKNOWN_WORDS = 30  # from here on a text without English function words is no English
UNKNOWN_SHARE = 0.05
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_COMMON = {
    "english": (
        "the and is are was were have has had do does did you your i i'm it's he she they we my this that "
        "with for of to be been not what when where how there here okay yeah yes any some because about just "
        "so but can will would if at or from very good feel feeling pain take taking doctor like know think "
        "well little get got right history years days day week weeks patient denies presents since"
    ),
    "spanish": (
        "el la los las que y es está estoy tengo tiene me duele muy pero para por con una uno cuando como más "
        "sí también hace desde esto eso usted señora señor doctora dolor cabeza pecho días semanas años mucho "
        "poco nada gracias bien buenos buenas hola qué le del al se lo su mi ha he sus donde dónde siente "
        "sido soy son"
    ),
    "german": (
        "der das und ist ich sie nicht ein eine einen mit haben habe auch auf für sich dem den des wie aber "
        "seit bei wenn schon noch nur kann gut guten tag schmerzen kopf bauch brust wochen tage jahre jahren "
        "sehr mehr immer mir mich ihnen ihr ihre sind zu zum wir wo wurde werden keine kein"
    ),
    "french": (
        "le les des est et une je j'ai vous avez nous pas pour dans avec sur qui mais depuis mal très aussi "
        "oui bonjour merci douleur tête ventre jours semaines ans c'est il elle du au aux ne ça votre mon ma "
        "mes quand comme bien peu plus suis êtes être avoir fait"
    ),
    "portuguese": (
        "os uma não você está estou tenho tem muito mas com para por quando como mais sim também faz desde "
        "isso dor cabeça peito dias semanas anos obrigado obrigada bom senhora senhor do da dos das ao em meu "
        "minha foi são"
    ),
    "italian": (
        "il gli che è sono ho hai una non mi fa male molto ma per con quando come più sì anche da questo "
        "dolore testa petto giorni settimane anni grazie buongiorno signora signore della del di nel alla ha "
        "dottore"
    ),
    "dutch": (
        "het een en ik je niet van dat die met voor zijn heb heeft ook op maar als wel nog kan goed pijn "
        "hoofd buik borst weken dagen jaar veel meer altijd mijn uw naar bij er wij hebben"
    ),
    "vietnamese": ("tôi bị và của không có là đau bác sĩ cho với này được những ngày tuần năm rất cũng"),
    "polish": (
        "nie się jest mam że jak ale dla boli ból od na do tak też czy pan pani bardzo dni tygodni lat dzień dobry"
    ),
    "turkish": ("ve bir bu için çok var ağrı değil ama ben siz evet hayır gün hafta yıl ne nasıl doktor"),
}


_ALSO_ENGLISH = (
    "a all an as be come da die do en er fa hat in le ma male man me mi no od on op os ou per so son uma va war"
)
_AMBIGUOUS = frozenset(_ALSO_ENGLISH.split())
_ENGLISH = frozenset(_COMMON["english"].split())
_OTHERS = tuple(
    frozenset(words.split()) - _ENGLISH - _AMBIGUOUS for name, words in _COMMON.items() if name != "english"
)


def language_notices(transcript: Transcript) -> Iterable[tuple[str, tuple[Span, ...]]]:
    """("not-english", places) or ("mixed-language", places), or nothing."""
    foreign: list[Span] = []
    foreign_words = total = english = 0
    for turn in transcript.turns:
        words = [word.lower().replace("\u2019", "'") for word in _WORD.findall(transcript.words_of(turn))]
        # Scripts without blanks between words: two characters count as one word.
        weight = sum(1 if _latin(word) else max(1, len(word) // 2) for word in words)
        total += weight
        english += sum(word in _ENGLISH for word in words)
        if _is_foreign(words):
            foreign.append(turn.span)
            foreign_words += weight
    if not total:
        return
    if foreign_words / total >= WHOLLY:
        yield "not-english", tuple(foreign)
    elif foreign_words >= PARTLY_WORDS and foreign_words / total >= PARTLY:
        yield "mixed-language", tuple(foreign)
    elif total >= UNKNOWN_WORDS and english / total < UNKNOWN_SHARE and ":" not in transcript.text:
        yield "not-english", tuple(turn.span for turn in transcript.turns)


def _latin(word: str) -> bool:
    return all(unicodedata.name(letter, "").startswith("LATIN") or letter == "'" for letter in word)


def _is_foreign(words: list[str]) -> bool:
    """Whether a turn is in another language: by its script, or by at least two foreign function words."""
    letters = sum(len(word) for word in words)
    if letters and sum(len(word) for word in words if not _latin(word)) / letters > 0.3:
        return True
    english = sum(word in _ENGLISH for word in words)
    best = max(sum(word in table for word in words) for table in _OTHERS)
    return best >= 2 and best > 1.5 * english
