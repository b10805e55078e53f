"""Reads a project that was made from one of Databricks' app templates, and writes it as a project for graph-agent.

The code is read as syntax trees and is never imported or run.
"""
