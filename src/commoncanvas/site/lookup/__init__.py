"""The page *Look up*: any picture: is it in a catalog, who made it, and which models saw it?"""
