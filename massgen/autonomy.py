"""Whether a final answer turns to the user instead of standing on its own: nobody is there to reply."""

import re

_ADDRESS = re.compile(
    r"(?i)\b(you|your|yours|(shall|should|may|can|do) i|want me to|would it help|anything else"
    r"|does (this|that|it) (help|sound|work|look|answer)|how does (this|that|it) (sound|look))\b",
)
_OFFER = re.compile(
    r"(?i)((please|just|do) )*(let me know|feel free to|tell me (which|what|if|whether|how|when|more|your)|ask away|just ask"
    r"|don't hesitate|reply with|i can also (?!be\b)|(i'm |i am |i('d| would) be )?happy to (?!be\b)|(i )?hope this helps"
    r"|i('d| would)? need (to know|(some |a (bit|little) )?(more )?(information|details|context)))"
    r"|please (share|provide|clarify|confirm|specify|paste|upload|reply)\b"
    r"|(if (you|there|any\w*)|once you)\b.*\b(i (can|could|will)|i'll|i'd|i'm|let me know|feel free|just (ask|say)|tell me|don't hesitate)\b",
)
_NEED = re.compile(
    r"(?i)\b(i (will |would |'d )?(need|have|must|want|would like) (some |to know|more|a (bit|little|few))"
    r"|before i\b|questions? (first|before)|please (answer|tell|let)|(could|can) you)",
)
_EAGER = re.compile(r"(?i)(sure|of course|certainly|absolutely|gladly|great)\b[^.?]*[!,.]")
_ABROAD = re.compile(
    r"(?i)\b(soll(te)? ich|möchtest du, dass ich|möchten sie, dass ich|sag(en sie)? mir|lass(en sie)? (es )?mich wissen"
    r"|quieres que|quiere que|desea que|avísame|dime qué|souhaitez-vous que|voulez-vous que|veux-tu que|dites-moi"
    r"|faites-moi savoir|n'hésitez pas|vuoi che|fammi sapere|gostaria que eu|quer que eu|me avise)\b",
)
_LETTER = re.compile(r"(?im)^[^\w\n]*(subject:|dear\b|(hi|hello|hey) [^,.!?\n]{1,40},\s*$)")
_NOT_PROSE = re.compile(r" {4}|\t|\s*(```|~~~|[>|#])")
_ITEM = re.compile(r"\s*([-*•+]|\W{0,2}\d+[.)])\s")
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|[\u201c\u201e][^\u201d\u201c]*[\u201d\u201c]|«[^»]*»|(?<!\w)'.*'(?!\w)")
_CLOSING = re.compile(r"[^\w.!?`\"'\u201d\u201c»]+$")


def asks_the_user(text: str) -> bool:
    """Whether `text` ends by asking the user something, or by offering to go on. Knows English best.

    Only the last sentence counts, and only in the answer's own voice: code, quotations, lists, letters and what follows
    a label ("Translation: ...") may hold questions, and an answer may be one.
    """
    lines = [line for line in _after_letter(text).splitlines() if line.strip()]
    if not lines or _NOT_PROSE.match(lines[-1]):
        return False
    if _ITEM.match(lines[-1]):
        intro = next((line for line in reversed(lines) if not (_ITEM.match(line) or _NOT_PROSE.match(line))), "")
        return _NEED.search(intro) is not None
    return _turns(_last_sentence(lines[-1][-2000:]), eager=_EAGER.match(lines[0]) is not None)


def _after_letter(text: str) -> str:
    """What follows a letter drafted for the user, after a rule; all of a text that holds none."""
    if not _LETTER.search(text):
        return text
    return text.rpartition("\n---")[2] if "\n---" in text else ""


def _last_sentence(line: str) -> str:
    plain = _CLOSING.sub("", _QUOTED.sub("...", line).replace("*", ""))
    return re.split(r"(?<=[.!?;])[\s_]+", plain)[-1].strip(" _(\t")


def _turns(sentence: str, *, eager: bool) -> bool:
    if _OFFER.match(sentence) or _ABROAD.search(sentence):
        return True
    before, label, question = sentence.rpartition(": ")
    if not sentence.endswith("?") or (label and not _NEED.search(before)):
        return False
    return eager or _ADDRESS.search(question) is not None
