"""The commands: options in, core called, result printed. No physics here."""
