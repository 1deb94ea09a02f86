"""What a person looks at after training: figures, and one page that holds them all."""
