"""The Hugging Face hub: find models in its cache on this disk, and download the others."""
