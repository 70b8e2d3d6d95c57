"""What a network learns from: labels and itself, or a teacher; losses and validation."""
