"""Accuracy of the demo model under compression, on clips that it was not trained on."""
