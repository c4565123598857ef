"""Object storage by URL: a folder there (`store`), its copy here (`mirror`), who may write.

Import from the modules: a storage's own library takes most of a second, and most runs need none.
"""
