"""Is a new model at least as good as the champion, query by query?"""
