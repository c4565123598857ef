"""Text that betrays the backbone: refusals, and tokens or role markers of its template.

Refusals are told by whole phrases that people do not say of themselves ("as a language
model"), that name what can't be done ("I can't assist with that"), or that ask for the input
again: "I'm sorry, but I can't" alone is what novels are full of.
"""

import re
from functools import cache

from sllm_data.words import words

_HEAD_CHARACTERS = 600

_SELF_DESCRIPTIONS = (
    "as an AI", "as an artificial intelligence", "as a language model",
    "as a large language model", "as a text-based", "I'm an AI", "I am an AI", "I'm just an AI",
    "I am just an AI", "I'm only an AI", "I'm a language model", "I am a language model",
    "I'm a large language model", "I am a large language model", "I'm a text-based",
    "I am a text-based", "I'm an artificial intelligence", "I am an artificial intelligence",
    "als KI-Modell", "als KI-Assistent", "als KI habe ich", "als KI kann ich", "als eine KI",
    "als Sprachmodell", "als großes Sprachmodell", "als künstliche Intelligenz", "ich bin eine KI",
    "ich bin ein KI", "ich bin ein Sprachmodell", "ich bin nur ein Sprachmodell",
    "como modelo de lenguaje", "como un modelo de lenguaje", "como IA no", "como una IA",
    "como inteligencia artificial", "como asistente de IA", "soy una IA",
    "soy un modelo de lenguaje", "soy una inteligencia artificial",
    "en tant qu'IA", "en tant que modèle de langage", "en tant qu'intelligence artificielle",
    "en tant qu'assistant IA", "je suis une IA", "je suis un modèle de langage",
    "je suis une intelligence artificielle",
    "come modello linguistico", "come modello di linguaggio", "come IA non", "sono un'IA",
    "sono un modello linguistico", "in quanto modello linguistico", "in quanto IA",
    "como um modelo de linguagem", "como modelo de linguagem", "como uma IA", "sou uma IA",
    "sou um modelo de linguagem", "como uma inteligência artificial",
    "als AI-model", "als AI-assistent", "als taalmodel", "als een taalmodel", "ik ben een AI",
    "ik ben een taalmodel",
    "как языковая модель", "как искусственный интеллект", "я языковая модель",
    "я искусственный интеллект", "будучи языковой моделью",
    "作为一个AI", "作为AI", "作为一名AI", "作为人工智能", "作为一个人工智能", "作为一个语言模型",
    "作为语言模型", "作为一个大型语言模型", "我是一个AI", "我是一个人工智能", "我是一个语言模型",
    "我是人工智能助手", "我是AI助手",
    "AIとして", "人工知能として", "言語モデルとして", "私はAIです", "私はAIなので",
    "私は言語モデル",
)  # fmt: skip

_EN_UNABLE = (
    "I can't", "I cannot", "I can not", "I'm unable to", "I am unable to", "I'm not able to",
    "I am not able to", "I do not have the ability to", "I don't have the ability to",
    "I don't have the capability to", "I do not have the capability to", "I won't be able to",
)  # fmt: skip
_EN_DEEDS = (
    "assist with", "assist you with", "help with that", "help with this", "help you with",
    "fulfill that", "fulfill this", "fulfill your", "comply with", "provide assistance",
    "listen to audio", "listen to the audio", "listen to any audio", "listen to speech",
    "listen to recordings", "listen to the recording", "hear audio", "hear the audio",
    "process audio", "process the audio", "access audio", "access the audio", "play audio",
    "access external", "browse the internet", "transcribe audio", "analyze audio",
    "see or hear", "engage in that", "generate that", "create that content",
    "provide that information", "provide information on", "directly listen", "directly hear",
    "listen to or", "directly access", "directly process", "actually hear", "actually listen",
)  # fmt: skip

_UNABLE_ELSEWHERE = (
    "dabei kann ich nicht helfen", "dabei kann ich Ihnen nicht helfen",
    "dabei kann ich dir nicht helfen", "damit kann ich nicht helfen",
    "damit kann ich Ihnen nicht helfen", "damit kann ich dir nicht helfen",
    "kann ich Ihnen leider nicht helfen", "ich kann diese Anfrage nicht",
    "ich kann keine Audio", "ich kann keine Audiodateien", "ich kann keine Audioaufnahmen",
    "ich kann keine Aufnahmen", "ich kann Audiodateien nicht",
    "ich bin nicht in der Lage Audio",
    "no puedo ayudarte con", "no puedo ayudarle con", "no puedo ayudar con",
    "no puedo cumplir con", "no puedo escuchar audio", "no puedo escuchar el audio",
    "no puedo escuchar archivos", "no puedo procesar audio", "no puedo procesar el audio",
    "no tengo la capacidad de escuchar", "no puedo asistir",
    "je ne peux pas vous aider avec", "je ne peux pas t'aider avec",
    "je ne peux pas vous aider à", "je ne peux pas répondre à cette demande",
    "je ne peux pas écouter de", "je ne peux pas écouter l'audio",
    "je ne peux pas traiter l'audio", "je ne suis pas en mesure d'écouter",
    "je ne suis pas en mesure de traiter", "je ne suis pas en mesure de vous aider",
    "non posso aiutarti con", "non posso aiutarla con", "non posso ascoltare audio",
    "non posso ascoltare l'audio", "non sono in grado di ascoltare",
    "não posso ajudar com", "não posso ajudá-lo com", "não consigo ouvir áudio",
    "não consigo ouvir o áudio", "não posso ouvir áudio", "não consigo processar áudio",
    "daar kan ik niet mee helpen", "daar kan ik je niet mee helpen", "ik kan geen audio",
    "я не могу помочь с", "я не могу помочь вам с",  # noqa: RUF001 - Cyrillic
    "я не могу прослушать",
    "я не могу слушать аудио", "я не могу обрабатывать аудио", "я не могу выполнить этот запрос",
    "我无法协助", "我不能协助", "我无法提供帮助", "我无法帮助您", "我无法帮助你", "我无法满足",
    "我不能满足您", "我无法听取", "我无法收听", "我无法播放", "我无法处理音频",
    "我无法直接处理音频", "我无法听音频",
    "我無法協助", "無法滿足您的", "音声を聞くことはできません", "音声を聞くことができません",
    "お手伝いすることはできません", "お手伝いできません", "その要求にはお応えできません",
)  # fmt: skip

_ASKING_BACK = (
    "please provide the text", "please provide me with the text", "please provide the transcript",
    "please provide the audio", "please provide the speech", "please provide the passage",
    "please provide the sentence", "please provide the content", "please share the text",
    "you haven't provided any", "you have not provided any", "no text was provided",
    "no audio was provided", "there is no text provided", "bitte geben Sie den Text",
    "bitte stellen Sie den Text", "bitte gib mir den Text", "por favor proporciona el texto",
    "por favor proporcione el texto", "veuillez fournir le texte", "veuillez me fournir le texte",
    "请提供文本", "请提供您", "请提供需要", "请提供要", "请提供具体的文本",
)  # fmt: skip

_CONTROL_LIKE = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?INST\]|<</?SYS>>|</s>|</?think>")
_ROLE_MARKER = re.compile(
    r"^[ \t]*(?:#{2,4}[ ]?(?:Instruction|Response|Human|Assistant|User|System|Input)\b:?"
    r"|(?:USER|ASSISTANT|SYSTEM|User|Assistant|System|Human)[ ]?:)",
    re.MULTILINE,
)


def refusal_in(text: str, transcript: str) -> str | None:
    """Returns the phrase of refusal near a response's beginning, or None.

    A transcript that holds such a phrase itself (speech about AI) clears its responses.
    """
    found = _phrase_in(text[:_HEAD_CHARACTERS])
    return None if found is None or _phrase_in(transcript) is not None else found


def leak_in(text: str, transcript: str, control_strings: tuple[str, ...]) -> str | None:
    """Returns the control token or role marker that a response holds, or None.

    Args:
        text: The response.
        transcript: Markers that stand in it as well are speech, not leaks.
        control_strings: The model's own control tokens as text, such as `<|im_end|>`; these
            are never speech.
    """
    for control in control_strings:
        if control in text and control.strip():
            return control
    for pattern in (_CONTROL_LIKE, _ROLE_MARKER):
        for match in pattern.finditer(text):
            marker = match.group().strip()
            if marker not in transcript:
                return marker
    return None


def _phrase_in(text: str) -> str | None:
    spaced = _spaced(text)
    for phrase in _whole_phrases():
        if phrase in spaced:
            return phrase.strip()
    starts, deeds = _unable_phrases()
    for start in starts:
        place = spaced.find(start)
        while place >= 0:
            rest = spaced[place + len(start) :]
            if rest.startswith(deeds):
                deed = next(deed for deed in deeds if rest.startswith(deed))
                return f"{start}{deed}".strip()
            place = spaced.find(start, place + 1)
    return None


def _spaced(text: str) -> str:
    return f" {' '.join(words(text))} "


@cache
def _whole_phrases() -> tuple[str, ...]:
    """Returns the phrases folded as texts are, with a space at both ends."""
    return tuple(
        _spaced(phrase) for phrase in (*_SELF_DESCRIPTIONS, *_UNABLE_ELSEWHERE, *_ASKING_BACK)
    )


@cache
def _unable_phrases() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the English starts, and the deeds that may follow one of them."""
    starts = tuple(_spaced(start) for start in _EN_UNABLE)
    return starts, tuple(_spaced(deed).lstrip() for deed in _EN_DEEDS)
