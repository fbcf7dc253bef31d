"""Many videos become captions: what is done is kept, what fails is told, and the rest goes on."""
