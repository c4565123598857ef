"""Publishing: a finished dataset goes to a hub repository, a storage or a folder.

`contents` says which files belong to a dataset and in which order they go, `target` is the seam
to where they go (`stored`: object storage and folders, `hub`: repositories), `terms` what the
licences say, and `publish` does it.
"""

from sllm_data.publishing.publish import Options, Published, publish

__all__ = ["Options", "Published", "publish"]
