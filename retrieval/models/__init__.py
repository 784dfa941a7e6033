"""Models on disk: profiles, downloads, and the sizes that their configuration gives."""
