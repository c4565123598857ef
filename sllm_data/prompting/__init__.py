"""From an utterance and a task to the words of a prompt.

pools           the instruction wordings of every task, read from YAML
templates       Jinja2 texts that render a prompt
sandbox         the part of Jinja2 that a template may use
twins           one request as the backbone reads it and as the speech model hears it
languages       what a language is called in the language of an instruction
lint            what is wrong with a pool that loads
preparation     the transcript as the backbone is shown it

Chat templates and token ids are not here: `chat` renders messages for a model.
"""
