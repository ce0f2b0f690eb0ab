"""Where state lives: databases, migrations, blobs."""
