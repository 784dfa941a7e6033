"""Requests and answers for the documentation, in English and Chinese: one module per resource, each example under its
title.
"""
