"""What compression costs in right answers, on clips that were never trained on."""
