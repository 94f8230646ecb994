"""Models on the hubs that people share them by: Hugging Face and Kaggle, by their own clients. TensorFlow is not needed."""

from tfcontrastive.hub.address import HubAddress
from tfcontrastive.hub.download import is_address, local_path
from tfcontrastive.hub.push import push
from tfcontrastive.hub.upload import Upload

__all__ = ["HubAddress", "Upload", "is_address", "local_path", "push"]
